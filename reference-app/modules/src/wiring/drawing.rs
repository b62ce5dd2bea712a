//! The drawing: the header on the left, the devices on the right, and a wire from each terminal to its pin.

use std::fmt::Write;

use super::{
    header::{self, Function},
    plan::{PlannedDevice, Terminal},
};

/// The distance from one row of pins to the next.
const ROW: i32 = 30;
const HEADER_Y: i32 = 96;
/// The centres of the columns of odd and even pins.
const COLUMNS: [i32; 2] = [118, 146];
const FIRST_TRACK_X: i32 = 244;
/// The distance from one vertical wire to the next.
const TRACK: i32 = 11;
const DEVICE_WIDTH: i32 = 400;
const DEVICE_GAP: i32 = 18;
const TERMINAL: i32 = 24;
const LINE: i32 = 17;
const TEXT_CHARACTERS: usize = 56;

/// A device at its place.
struct Placed<'a> {
    device: &'a PlannedDevice,
    y: i32,
}

/// The wires of one pin: a vertical track that leads to all its terminals.
struct Net {
    position: u8,
    function: Function,
    track_x: i32,
    /// The y coordinates of the terminals.
    terminals: Vec<i32>,
}

/// Draws the devices of a module.
pub fn draw(module: &str, devices: &[PlannedDevice]) -> String {
    let placed = place(devices);
    let nets = route(&placed);
    let devices_x = FIRST_TRACK_X + TRACK * i32::try_from(nets.len()).unwrap_or(0) + 16;
    let bottom = placed.last().map_or(0, |last| last.y + height(last.device));
    let header_bottom = HEADER_Y + 20 * ROW;
    let (width, height) = (devices_x + DEVICE_WIDTH + 24, bottom.max(header_bottom) + 64);

    let mut svg = Svg::new(width, height);
    svg.text(24, 36, "title", &format!("Wiring of module {module}"));
    svg.text(
        24,
        58,
        "small",
        "Seen from above, with the USB ports below: pin 1 is at the top, on the side of the processor.",
    );
    nets.iter().for_each(|net| wire(&mut svg, net, devices_x));
    draw_header(&mut svg, &nets);
    placed.iter().for_each(|device| draw_device(&mut svg, device, devices_x));
    draw_legend(&mut svg, height - 28);
    svg.end()
}

fn place(devices: &[PlannedDevice]) -> Vec<Placed<'_>> {
    let mut y = HEADER_Y - 12;
    let mut placed = Vec::new();
    for device in devices {
        placed.push(Placed { device, y });
        y += height(device) + DEVICE_GAP;
    }
    placed
}

/// The height of a device: two lines of title, the terminals, the notes.
fn height(device: &PlannedDevice) -> i32 {
    let rows = i32::try_from(device.terminals.len()).unwrap_or(0);
    let lines = i32::try_from(texts(device).count()).unwrap_or(0);
    56 + rows * TERMINAL + lines * LINE + 8
}

fn terminal_y(placed: &Placed<'_>, index: usize) -> i32 {
    placed.y + 64 + TERMINAL * i32::try_from(index).unwrap_or(0)
}

/// The lines of the notes, then those of the warnings, which have a mark at their first line.
fn texts(device: &PlannedDevice) -> impl Iterator<Item = (Option<&'static str>, String)> {
    let lines = |texts: &[String], class| -> Vec<_> {
        let wrapped = texts.iter().flat_map(|text| wrap(text).into_iter().enumerate());
        wrapped.map(|(line, text)| ((line == 0).then_some(class).flatten(), text)).collect()
    };
    lines(&device.notes, None).into_iter().chain(lines(&device.warnings, Some("warning")))
}

fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        if lines[last].is_empty() {
            lines[last].push_str(word);
        } else if lines[last].chars().count() + 1 + word.chars().count() <= TEXT_CHARACTERS {
            lines[last].push(' ');
            lines[last].push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// The centre of a pin, 1 to 40.
fn pin_centre(position: u8) -> (i32, i32) {
    let index = i32::from(position) - 1;
    (COLUMNS[usize::from(position.is_multiple_of(2))], HEADER_Y + ROW / 2 + index / 2 * ROW)
}

/// The y coordinate at which the wire of a pin leaves the header: that of the pin, or for the odd pins the gap
/// below it.
fn exit_y(position: u8) -> i32 {
    let (_, y) = pin_centre(position);
    if position.is_multiple_of(2) { y } else { y + ROW / 2 }
}

/// Makes one net of all terminals at a pin. The tracks are in an order in which few wires cross.
fn route(placed: &[Placed<'_>]) -> Vec<Net> {
    let mut nets: Vec<Net> = Vec::new();
    for device in placed {
        for (index, terminal) in device.device.terminals.iter().enumerate() {
            let y = terminal_y(device, index);
            let Terminal { position, function, .. } = *terminal;
            match nets.iter_mut().find(|net| net.position == position) {
                Some(net) => net.terminals.push(y),
                None => nets.push(Net { position, function, track_x: 0, terminals: vec![y] }),
            }
        }
    }
    // Wires that lead down turn the later the higher they begin, and those that lead up the other way round.
    nets.sort_by_key(|net| {
        let exit = exit_y(net.position);
        let leads_down = net.terminals.iter().all(|y| *y >= exit);
        (leads_down, if leads_down { -exit } else { exit })
    });
    for (net, track) in nets.iter_mut().zip(0..) {
        net.track_x = FIRST_TRACK_X + track * TRACK;
    }
    nets
}

fn wire(svg: &mut Svg, net: &Net, devices_x: i32) {
    let (x, y) = pin_centre(net.position);
    let (exit, track, colour) = (exit_y(net.position), net.track_x, net.function.colour());
    let lowest = net.terminals.iter().copied().chain([exit]).max().unwrap_or(exit);
    let highest = net.terminals.iter().copied().chain([exit]).min().unwrap_or(exit);
    let mut path = format!("M{x} {y}V{exit}H{track}M{track} {highest}V{lowest}");
    for y in &net.terminals {
        // Writing into a String cannot fail.
        let _ = write!(path, "M{track} {y}H{devices_x}");
    }
    svg.push(&format!("<path class=\"halo\" d=\"{path}\"/>"));
    svg.push(&format!("<path class=\"wire\" stroke=\"{colour}\" d=\"{path}\"/>"));
    let is_junction = |y: &&i32| **y != lowest && **y != highest || net.terminals.len() > 1 && **y == exit;
    for y in net.terminals.iter().filter(is_junction) {
        svg.push(&format!("<circle cx=\"{track}\" cy=\"{y}\" r=\"4\" fill=\"{colour}\"/>"));
    }
}

fn draw_header(svg: &mut Svg, nets: &[Net]) {
    let (x, width) = (COLUMNS[0] - 15, COLUMNS[1] - COLUMNS[0] + 30);
    svg.push(&format!(
        "<rect class=\"board\" x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"{}\" rx=\"4\"/>",
        HEADER_Y - 2,
        20 * ROW + 4
    ));
    for net in nets.iter().filter(|net| !net.position.is_multiple_of(2)) {
        let ((x, y), exit) = (pin_centre(net.position), exit_y(net.position));
        let end = COLUMNS[1] + 15;
        let colour = net.function.colour();
        svg.push(&format!("<path class=\"wire\" stroke=\"{colour}\" d=\"M{x} {y}V{exit}H{end}\"/>"));
    }
    for position in 1..=40 {
        draw_pin(svg, position, nets.iter().find(|net| net.position == position));
    }
}

fn draw_pin(svg: &mut Svg, position: u8, net: Option<&Net>) {
    let (x, y) = pin_centre(position);
    let function = net.map_or_else(|| header::function(position), |net| net.function);
    let (colour, used) = (function.colour(), net.is_some());
    let (fill, class) = if used { (colour, "number used") } else { ("#ffffff", "number") };
    let shape = match position {
        1 => format!("<rect x=\"{}\" y=\"{}\" width=\"20\" height=\"20\"", x - 10, y - 10),
        _ => format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"10\""),
    };
    svg.push(&format!("{shape} fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"2\"/>"));
    svg.text(x, y + 4, class, &position.to_string());
    let (label_x, anchor) =
        if !position.is_multiple_of(2) { (COLUMNS[0] - 22, "end") } else { (COLUMNS[1] + 22, "start") };
    let label = header::label(position);
    if used {
        let label_width = 10 + 8 * i32::try_from(label.len()).unwrap_or(0);
        let left = if anchor == "end" { label_x - label_width + 4 } else { label_x - 4 };
        svg.push(&format!(
            "<rect x=\"{left}\" y=\"{}\" width=\"{label_width}\" height=\"20\" rx=\"10\" fill=\"{colour}\"/>",
            y - 10
        ));
        svg.text(left + label_width / 2, y + 4, "label used", &label);
    } else {
        svg.text(label_x, y + 4, &format!("label {anchor}"), &label);
    }
}

fn draw_device(svg: &mut Svg, placed: &Placed<'_>, x: i32) {
    let Placed { device, y } = placed;
    let height = height(device);
    svg.push(&format!(
        "<rect class=\"device\" x=\"{x}\" y=\"{y}\" width=\"{DEVICE_WIDTH}\" height=\"{height}\" rx=\"8\"/>"
    ));
    svg.text(x + 16, y + 24, "name", &device.name);
    svg.text(x + 16, y + 42, "small", &shortened(device.title));
    for (index, terminal) in device.terminals.iter().enumerate() {
        let y = terminal_y(placed, index);
        let colour = terminal.function.colour();
        svg.push(&format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"5\" fill=\"{colour}\"/>"));
        svg.text(x + 16, y + 4, "terminal", &terminal.name);
        let pin = format!("{}, pin {}", header::label(terminal.position), terminal.position);
        svg.text(x + 110, y + 4, "small", &pin);
    }
    let mut y = y + 60 + TERMINAL * i32::try_from(device.terminals.len()).unwrap_or(0);
    for (mark, text) in texts(device) {
        if mark.is_some() {
            svg.push(&format!("<path class=\"mark\" d=\"M{} {}l7 -12l7 12z\"/>", x + 10, y + 5));
            svg.text(x + 17, y + 4, "exclamation", "!");
        }
        svg.text(x + 30, y + 4, "small", &text);
        y += LINE;
    }
}

fn shortened(title: &str) -> String {
    if title.chars().count() <= TEXT_CHARACTERS {
        return title.to_owned();
    }
    let start: String = title.chars().take(TEXT_CHARACTERS - 1).collect();
    format!("{start}…")
}

fn draw_legend(svg: &mut Svg, y: i32) {
    let mut x = 24;
    for function in Function::ALL {
        svg.push(&format!(
            "<circle cx=\"{}\" cy=\"{}\" r=\"6\" fill=\"{}\"/>",
            x + 6,
            y - 4,
            function.colour()
        ));
        svg.text(x + 18, y, "small", function.name());
        x += 34 + 7 * i32::try_from(function.name().len()).unwrap_or(0);
    }
}

/// The text of an SVG file.
struct Svg(String);

impl Svg {
    fn new(width: i32, height: i32) -> Self {
        let size = format!("width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\"");
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" {size}>\n{STYLE}<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        ))
    }

    fn push(&mut self, element: &str) {
        self.0.push_str(element);
        self.0.push('\n');
    }

    fn text(&mut self, x: i32, y: i32, class: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.push(&format!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>"));
    }

    fn end(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

const STYLE: &str = "<style>
text { font: 13px system-ui, sans-serif; fill: #202124 }
.title { font-size: 20px; font-weight: 600 }
.name { font-size: 15px; font-weight: 600 }
.small { font-size: 12px; fill: #5f6368 }
.terminal { font-weight: 600 }
.number { font-size: 10px; text-anchor: middle }
.label { font-size: 12px; fill: #5f6368 }
.end { text-anchor: end }
.used { fill: #ffffff; font-weight: 600; text-anchor: middle }
.exclamation { font-size: 10px; font-weight: 700; text-anchor: middle }
.board { fill: #f1f3f4; stroke: #bdc1c6 }
.device { fill: #f8f9fa; stroke: #bdc1c6 }
.mark { fill: #fbbc04 }
.halo { fill: none; stroke: #ffffff; stroke-width: 6 }
.wire { fill: none; stroke-width: 2.5; stroke-linejoin: round }
</style>
";
