//! Buttons, contacts and rotary encoders with a kernel driver: `gpio-keys`, `rotary-encoder`, keypads, USB
//! buttons.
//!
//! The kernel debounces them and queues their events in `/dev/input/event*` (Documentation/input/input.rst),
//! so a press between two reads is not lost: the sensor is read again for each event.
//!
//! | event | quantity | value |
//! |---|---|---|
//! | `EV_KEY` | pressed | 1 while the key is pressed |
//! | `EV_SW` | switch | 1 while the switch is on |
//! | `EV_REL` | position | steps since the module started |
//!
//! A device with several keys has a channel for each, with the code of `linux/input-event-codes.h` as its
//! name. The state of a key or switch is unknown, and so without data, until its first event.
//!
//! # Boot configuration
//! `dtoverlay=gpio-key,gpio=17,keycode=28,label=bell` or
//! `dtoverlay=rotary-encoder,pin_a=5,pin_b=6,relative_axis=1` in `/boot/firmware/config.txt`, then a reboot.
//! The user must be in group `input`.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: no input device` | the overlay, or another name: `cat /sys/class/input/event*/device/name` |
//! | `permission denied` | the user must be in group `input` |
//! | `refused: ... codes` | a keyboard: name the keys in `codes` |
//!
//! # Deliberately absent
//! Absolute axes (touch screens, joysticks). The state at the start: asking for it needs a system call
//! (`EVIOCGKEY`) without a safe interface; contacts whose state matters at once use the driver `contact`, on
//! the pin.

use std::{
    fs::{self, File},
    future::pending,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use iotpi_core::{
    DeviceError, DeviceErrorKind, Quantity, Sample, Sensor, async_trait, model::reading::SeriesSpec,
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{DeviceFilter, Sysfs, quantities, series, text_in};

const EV_SYN: u16 = 0;
const EV_KEY: u16 = 1;
const EV_REL: u16 = 2;
const EV_SW: u16 = 5;
const SYN_REPORT: u16 = 0;
const SYN_DROPPED: u16 = 3;
/// `struct input_event`: a time of two words, type, code, value (linux/input.h).
const TIME_BYTES: usize = 2 * size_of::<usize>();
const EVENT_BYTES: usize = TIME_BYTES + 8;
const EVENTS_PER_READ: usize = 64;
/// A manifest has at most as many series.
const MAX_CHANNELS: usize = 64;

/// The sensor. It reads the device that its filter matches when it is opened, and again after it was
/// unplugged.
///
/// ```
/// use iotpi_core::DeviceErrorKind;
/// use iotpi_hal::kernel::{DeviceFilter, Sysfs, input::Input};
///
/// let absent = Input::open(Sysfs::new(), DeviceFilter::named("no such button"), &[]).unwrap_err();
/// assert_eq!(absent.kind(), DeviceErrorKind::NotFound);
/// ```
#[derive(Debug)]
pub struct Input {
    sysfs: Sysfs,
    filter: DeviceFilter,
    channels: Vec<InputChannel>,
    source: Option<Source>,
}

#[derive(Debug)]
struct InputChannel {
    kind: u16,
    code: u16,
    series: SeriesSpec,
    value: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Event {
    kind: u16,
    code: u16,
    value: i32,
}

/// The open device file, and the events that were not reported yet.
#[derive(Debug)]
struct Source {
    file: AsyncFd<File>,
    bytes: Vec<u8>,
}

impl Input {
    /// Opens the device, with its keys, switches and axes of these codes, or with all it has.
    ///
    /// # Errors
    /// - [`DeviceErrorKind::NotFound`]: no device matches, or several do.
    /// - [`DeviceErrorKind::Refused`]: the device has none of these codes, or more than 64.
    pub fn open(sysfs: Sysfs, filter: DeviceFilter, codes: &[u16]) -> Result<Self, DeviceError> {
        let device = find(&sysfs, &filter)?;
        let kinds = [
            (EV_KEY, "key", "pressed", "boolean"),
            (EV_SW, "sw", "switch", "boolean"),
            (EV_REL, "rel", "position", "count"),
        ];
        let (mut found, mut quantities) = (Vec::new(), Vec::new());
        for (kind, file, name, unit) in kinds {
            let bits = text_in(&device.join("capabilities").join(file)).unwrap_or_default();
            let wanted = |code: &u16| codes.is_empty() || codes.contains(code);
            for code in set_bits(&bits, usize::BITS).into_iter().filter(wanted) {
                let Some(quantity) = quantities::quantity(name, unit) else { continue };
                found.push((kind, code));
                quantities.push((quantity, code.to_string()));
            }
        }
        if found.is_empty() || found.len() > MAX_CHANNELS {
            let message = format!("the input device has {} such keys: name 1 to 64 in `codes`", found.len());
            return Err(DeviceError::new(DeviceErrorKind::Refused, message));
        }
        let channels = found.into_iter().zip(series::distinguish(quantities));
        let channels =
            channels.map(|((kind, code), series)| InputChannel { kind, code, series, value: None });
        let mut input = Self { sysfs, filter, channels: channels.collect(), source: None };
        input.reset();
        Ok(input)
    }

    /// Forgets the state of keys and switches. Positions go on.
    fn reset(&mut self) {
        for channel in &mut self.channels {
            channel.value = channel.value.filter(|_| channel.kind == EV_REL);
            if channel.kind == EV_REL {
                channel.value.get_or_insert(0.0);
            }
        }
    }

    /// Opens the file if necessary, and applies the oldest report, if there is one.
    fn advance(&mut self) -> Result<(), DeviceError> {
        let mut source = match self.source.take() {
            Some(source) => source,
            None => Source::open(&self.sysfs, &find(&self.sysfs, &self.filter)?)?,
        };
        if !source.has_report() {
            let filled = fill(source.file.get_ref(), &mut source.bytes);
            filled.map_err(|error| self.sysfs.error(Path::new("/dev/input"), error))?;
        }
        for event in source.take_report() {
            self.apply(event);
        }
        self.source = Some(source);
        Ok(())
    }

    fn apply(&mut self, event: Event) {
        // The queue was full: the state is not known any more.
        if (event.kind, event.code) == (EV_SYN, SYN_DROPPED) {
            return self.reset();
        }
        let same = |channel: &&mut InputChannel| (channel.kind, channel.code) == (event.kind, event.code);
        let Some(channel) = self.channels.iter_mut().find(same) else { return };
        channel.value = Some(match event.kind {
            EV_REL => channel.value.unwrap_or(0.0) + f64::from(event.value),
            // 2 is a key that repeats.
            _ => f64::from(u8::from(event.value != 0)),
        });
    }
}

/// The folder of the device with its name and capabilities.
fn find(sysfs: &Sysfs, filter: &DeviceFilter) -> Result<PathBuf, DeviceError> {
    let events = sysfs.entries("sys/class/input").into_iter().filter(|folder| event_name(folder).is_some());
    filter.find("input device", events.map(|folder| folder.join("device")).collect())
}

fn event_name(folder: &Path) -> Option<&str> {
    folder.file_name()?.to_str().filter(|name| name.starts_with("event"))
}

/// The numbers of the bits that are set in a bitmap of the kernel: words in hexadecimal, the highest first.
fn set_bits(text: &str, word_bits: u32) -> Vec<u16> {
    let words = text.split_whitespace().rev().map(|word| u64::from_str_radix(word, 16).unwrap_or(0));
    let bits = words.zip(0_u32..).flat_map(|(word, index)| {
        (0..word_bits).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index * word_bits + bit)
    });
    bits.filter_map(|bit| u16::try_from(bit).ok()).collect()
}

impl Source {
    fn open(sysfs: &Sysfs, device: &Path) -> Result<Self, DeviceError> {
        let name = device.parent().and_then(event_name).unwrap_or_default();
        let path = sysfs.path("dev/input").join(name);
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(&path);
        // The constructor that is not deprecated is unsafe: the descriptor must not change or close while it
        // is registered. A file in the registration does neither.
        #[allow(deprecated)]
        let file = file.and_then(|file| AsyncFd::with_interest(file, Interest::READABLE));
        Ok(Self { file: file.map_err(|error| sysfs.error(&path, error))?, bytes: Vec::new() })
    }

    fn has_report(&self) -> bool {
        report_end(&self.bytes).is_some()
    }

    /// Takes the events up to the first `SYN_REPORT`.
    fn take_report(&mut self) -> Vec<Event> {
        let end = report_end(&self.bytes).unwrap_or(0);
        let report: Vec<u8> = self.bytes.drain(..end).collect();
        report.chunks_exact(EVENT_BYTES).filter_map(event).collect()
    }
}

fn event(bytes: &[u8]) -> Option<Event> {
    let [k0, k1, c0, c1, value @ ..] = bytes.get(TIME_BYTES..EVENT_BYTES)? else { return None };
    let value = i32::from_ne_bytes(value.try_into().ok()?);
    Some(Event { kind: u16::from_ne_bytes([*k0, *k1]), code: u16::from_ne_bytes([*c0, *c1]), value })
}

fn report_end(bytes: &[u8]) -> Option<usize> {
    let is_end = |bytes| event(bytes).is_some_and(|event| (event.kind, event.code) == (EV_SYN, SYN_REPORT));
    let index = bytes.chunks_exact(EVENT_BYTES).position(is_end)?;
    Some((index + 1) * EVENT_BYTES)
}

/// Reads events without waiting. Returns whether there were any.
fn fill(mut file: &File, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; EVENTS_PER_READ * EVENT_BYTES];
    match file.read(&mut buffer) {
        Ok(0) => Err(io::Error::from(io::ErrorKind::NotFound)),
        Ok(n) => {
            bytes.extend_from_slice(&buffer[..n]);
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Sensor for Input {
    fn quantities(&self) -> Vec<Quantity> {
        self.channels.iter().map(|channel| channel.series.quantity.clone()).collect()
    }

    fn series(&self) -> Vec<SeriesSpec> {
        self.channels.iter().map(|channel| channel.series.clone()).collect()
    }

    /// Returns the state after the oldest event that was not reported yet, else the present state.
    ///
    /// # Errors
    /// [`DeviceErrorKind::NotFound`] while the device is unplugged.
    ///
    /// # Cancel safety
    /// It does not wait.
    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        if let Err(error) = self.advance() {
            self.reset();
            return Err(error);
        }
        let samples = self.channels.iter().map(|channel| match channel.value {
            Some(value) => Sample::new(channel.series.clone(), value),
            None => Sample::no_data(channel.series.clone(), "unknown until its first event"),
        });
        Ok(samples.collect())
    }

    async fn changed(&mut self) {
        let Some(Source { file, bytes }) = &mut self.source else { return pending().await };
        while report_end(bytes).is_none() {
            let Ok(mut ready) = file.readable().await else { return pending().await };
            match fill(ready.get_inner(), bytes) {
                Ok(true) => {}
                Ok(false) => ready.clear_ready(),
                // The next read returns the error.
                Err(_) => return pending().await,
            }
        }
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use std::io::Write as _;

    use iotpi_core::model::reading::Outcome;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;
    use crate::sim::SimSysfs;

    const KEY_ENTER: u16 = 28;
    const KEY_VOLUME_UP: u16 = 115;

    fn bytes(events: &[(u16, u16, i32)]) -> Vec<u8> {
        let event = |(kind, code, value): &(u16, u16, i32)| {
            let time = vec![0; TIME_BYTES];
            [time, kind.to_ne_bytes().into(), code.to_ne_bytes().into(), value.to_ne_bytes().into()].concat()
        };
        events.iter().flat_map(event).collect()
    }

    /// A device with two keys, a switch and an axis, and the other end of its file.
    fn device(number: u8) -> (SimSysfs, File) {
        let (high, low) = (1_u64 << (KEY_VOLUME_UP - 64), 1_u64 << KEY_ENTER);
        let keys =
            if usize::BITS == 64 { format!("{high:x} {low:x}") } else { format!("{high:x} 0 {low:x}") };
        let tree = SimSysfs::new(&format!(
            "[sys/devices/platform/button@11/input/input3]\nname = button@11\n[sys/devices/platform/button@11/input/input3/\
             capabilities]\nkey = {keys}\nsw = 1\nrel = 2\n[sys/devices/platform/button@11/input/input3/event{number}]\n\
             @ sys/class/input\ndevice -> ..\n[dev/input]"
        ))
        .unwrap();
        let end = plug(&tree, number);
        (tree, end)
    }

    fn plug(tree: &SimSysfs, number: u8) -> File {
        let path = tree.path(format!("dev/input/event{number}"));
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        File::options().read(true).write(true).open(path).unwrap()
    }

    fn open(tree: &SimSysfs, codes: &[u16]) -> Result<Input, DeviceError> {
        Input::open(tree.sysfs(), DeviceFilter::named("button"), codes)
    }

    async fn values(input: &mut Input) -> Vec<Option<f64>> {
        input.read().await.unwrap().iter().map(|sample| sample.outcome.value()).collect()
    }

    #[tokio::test]
    async fn each_event_is_reported_though_the_key_was_released_before_the_read() {
        let (tree, mut end) = device(2);
        let mut input = open(&tree, &[KEY_ENTER]).unwrap();
        let before = input.read().await.unwrap();

        end.write_all(&bytes(&[
            (EV_KEY, KEY_ENTER, 1),
            (EV_SYN, 0, 0),
            (EV_KEY, KEY_ENTER, 0),
            (EV_SYN, 0, 0),
        ]))
        .unwrap();
        let mut seen = Vec::new();
        for _ in 0..2 {
            input.changed().await;
            seen.extend(values(&mut input).await);
        }

        assert_eq!(before[0].quantity.name_str(), "pressed");
        assert_eq!(before[0].outcome, Outcome::no_data("unknown until its first event"));
        assert_eq!(seen, [Some(1.0), Some(0.0)]);
        assert_eq!(values(&mut input).await, [Some(0.0)]);
    }

    #[tokio::test]
    async fn keys_switches_and_axes_are_series_of_their_own() {
        let (tree, mut end) = device(0);
        let mut input = open(&tree, &[]).unwrap();
        input.read().await.unwrap();

        let report = [
            (EV_REL, 1, 3),
            (EV_REL, 1, -1),
            (EV_SW, 0, 1),
            (EV_KEY, 999, 1),
            (EV_KEY, KEY_VOLUME_UP, 2),
            (EV_SYN, 0, 0),
        ];
        // A report may arrive in parts.
        let bytes = bytes(&report);
        end.write_all(&bytes[..EVENT_BYTES + 5]).unwrap();
        let unfinished = values(&mut input).await;
        end.write_all(&bytes[EVENT_BYTES + 5..]).unwrap();
        input.changed().await;

        let channels: Vec<_> = input.series().into_iter().map(|s| s.channel.map(String::from)).collect();
        assert_eq!(channels, [Some("28".to_owned()), Some("115".to_owned()), None, None]);
        assert_eq!(unfinished, [None, None, None, Some(0.0)]);
        assert_eq!(values(&mut input).await, [None, Some(1.0), Some(1.0), Some(2.0)]);
    }

    #[tokio::test]
    async fn a_full_queue_makes_the_state_unknown() {
        let (tree, mut end) = device(0);
        let mut input = open(&tree, &[KEY_ENTER]).unwrap();
        input.read().await.unwrap();

        end.write_all(&bytes(&[
            (EV_KEY, KEY_ENTER, 1),
            (EV_SYN, 0, 0),
            (EV_SYN, SYN_DROPPED, 0),
            (EV_SYN, 0, 0),
        ]))
        .unwrap();

        assert_eq!(values(&mut input).await, [Some(1.0)]);
        assert_eq!(values(&mut input).await, [None]);
    }

    #[tokio::test]
    async fn a_device_that_is_unplugged_is_read_again_under_another_number() {
        let (tree, end) = device(2);
        let mut input = open(&tree, &[KEY_ENTER]).unwrap();
        input.read().await.unwrap();

        drop(end);
        fs::remove_file(tree.path("sys/class/input/event2")).unwrap();
        fs::remove_file(tree.path("dev/input/event2")).unwrap();
        let gone = [input.read().await.unwrap_err().kind(), input.read().await.unwrap_err().kind()];
        tree.unpack("[sys/devices/platform/button@11/input/input3/event7]\n@ sys/class/input\ndevice -> ..")
            .unwrap();
        let mut end = plug(&tree, 7);
        input.read().await.unwrap();
        end.write_all(&bytes(&[(EV_KEY, KEY_ENTER, 1), (EV_SYN, 0, 0)])).unwrap();
        input.changed().await;

        assert_eq!(gone, [DeviceErrorKind::NotFound; 2]);
        assert_eq!(values(&mut input).await, [Some(1.0)]);
    }

    #[test]
    fn a_bitmap_of_the_kernel_is_parsed_in_words() {
        assert_eq!(set_bits("10000000", 64), [28]);
        assert_eq!(set_bits("8000000000000 10000000", 64), [28, 115]);
        assert_eq!(set_bits("80000 0 0 10000000", 32), [28, 115]);
        assert_eq!(set_bits("nonsense 1", 64), [0]);
        assert_eq!(set_bits("", 64), [0_u16; 0]);
    }

    #[test]
    fn a_device_without_such_keys_is_refused() {
        let (tree, _end) = device(0);

        assert_eq!(open(&tree, &[30]).unwrap_err().kind(), DeviceErrorKind::Refused);
        assert_eq!(open(&SimSysfs::new("").unwrap(), &[]).unwrap_err().kind(), DeviceErrorKind::NotFound);
    }
}
