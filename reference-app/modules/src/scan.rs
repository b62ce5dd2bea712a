//! Lists the devices that the kernel shows, and proposes a settings file.

use std::{collections::BTreeSet, fmt::Write};

use iotpi_hal::{
    kernel::Sysfs,
    scan::{Found, FoundKind, scan},
};

/// The characters of a name that a channel keeps.
const MAX_CHANNEL_START: usize = 40;

/// The devices as comments, and the settings file.
pub fn report(sysfs: &Sysfs) -> String {
    let found = scan(sysfs);
    let mut text = String::from("# The devices that the kernel of this machine shows.\n");
    // Writing into a String cannot fail.
    for device in &found {
        let Found { kind, name, about, .. } = device;
        let _ = writeln!(text, "# {kind:<13} {name:<20} {about}");
    }
    if found.is_empty() {
        text.push_str("# None: enable I2C, SPI or 1-Wire, or add the overlay of a chip to config.txt.\n");
    }
    text.push_str(
        "#\n# A settings file with those that are devices by themselves. Remove what the module does not need, and\n\
         # check the rest: iotpi-module check FILE\nid = \"kernel-sensors\"\nhub = \"http://127.0.0.1:8000\"\n",
    );
    let mut channels = BTreeSet::new();
    for device in &found {
        let Some(settings) = &device.settings else { continue };
        text.push('\n');
        if is_sensor(device.kind) {
            let channel = new_channel(&device.name, &mut channels);
            let _ = writeln!(text, "{}\nchannel = \"{channel}\"", settings.trim_end());
        } else {
            // A module has at most one device that takes commands, and rarely this one.
            settings.lines().for_each(|line| _ = writeln!(text, "# {line}"));
        }
    }
    text
}

fn is_sensor(kind: FoundKind) -> bool {
    !matches!(kind, FoundKind::Led | FoundKind::Pwm | FoundKind::Camera)
}

/// The name of a device as a channel that no other device has: several may measure the same quantity.
fn new_channel(name: &str, used: &mut BTreeSet<String>) -> String {
    let to_id = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let id: String = name.chars().map(to_id).take(MAX_CHANNEL_START).collect();
    let id = id.trim_matches('-').to_owned();
    let numbered = (2..).map(|number| format!("{id}-{number}"));
    let channel = std::iter::once(id.clone()).chain(numbered).find(|channel| !used.contains(channel));
    let channel = channel.unwrap_or(id);
    used.insert(channel.clone());
    channel
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_devices_are_listed_and_their_settings_proposed() {
        let root = tempfile::tempdir().unwrap();
        let write = |folder: &str, files: [(&str, &str); 2]| {
            let folder = root.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            files.into_iter().for_each(|(file, text)| fs::write(folder.join(file), text).unwrap());
        };
        write("sys/class/hwmon/hwmon0", [("name", "sht4x\n"), ("temp1_input", "21500\n")]);
        write("sys/class/hwmon/hwmon1", [("name", "SHT4x\n"), ("temp1_input", "21500\n")]);
        write("sys/class/leds/ACT", [("brightness", "0\n"), ("max_brightness", "255\n")]);

        let report = report(&Sysfs::at(root.path()));

        assert!(
            report.contains("\n# hwmon") && report.contains("\n# [[device]]\n# driver = \"leds\""),
            "{report}"
        );
        assert_eq!(report.matches("\n[[device]]\ndriver = \"hwmon\"").count(), 2, "{report}");
        assert!(
            report.contains("channel = \"sht4x\"") && report.contains("channel = \"sht4x-2\""),
            "{report}"
        );
        crate::settings::Settings::parse(&report).unwrap();
    }

    #[test]
    fn a_machine_without_devices_has_none() {
        let root = tempfile::tempdir().unwrap();

        assert!(report(&Sysfs::at(root.path())).contains("None: enable I2C"));
    }
}
