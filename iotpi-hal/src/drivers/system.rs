//! The machine the module runs on: processor temperature, load, memory, disk, uptime, and on a Raspberry Pi
//! whether it is throttled. Read from `/proc` and `/sys`. Nothing is simulated, and nothing runs in the
//! background.
//!
//! `throttled` is 1 while the firmware reports under-voltage, a capped frequency, throttling or the soft
//! temperature limit (`get_throttled`). On a Pi 5 the kernel shows under-voltage only, as an alarm of the
//! hwmon chip `rpi_volt`.
//!
//! A value the kernel does not provide is not a quantity of this sensor: a virtual machine has no
//! temperature.
//!
//! # Troubleshooting
//! | symptom | possible cause |
//! |---|---|
//! | no `cpu-temperature` | the kernel provides none in `/sys/class/thermal` or `/sys/class/hwmon`; usual in virtual machines and containers |
//! | no `throttled` | not a Raspberry Pi, or a kernel with neither `get_throttled` nor the driver `rpi_volt` |
//! | `throttled` is 1 | a supply that is too weak (a Pi 4 needs 3 A, a Pi 5 needs 5 A) or a processor that is too hot |
//!
//! # Deliberately absent
//! Per-core load, network counters, process lists: those belong to monitoring systems. `vcgencmd`: it needs a
//! subprocess and group `video`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample, SensorType, Unit};

use crate::{
    drivers::BlockingSensor,
    kernel::{Sysfs, number_in, text_in},
};

/// The bits for the *present* state: under-voltage, frequency capped, throttled, soft temperature limit. The
/// higher bits mean *once since boot*.
const THROTTLED_NOW: u32 = 0b1111;

/// The sensor of the machine itself.
///
/// ```
/// use iotpi_hal::drivers::{BlockingSensor, system::System};
///
/// let quantities = System::new().quantities();
/// assert!(quantities.iter().any(|quantity| quantity.name_str() == "uptime"));
/// ```
#[derive(Debug)]
pub struct System {
    root: PathBuf,
    probes: Vec<(Quantity, Probe)>,
}

/// The source of one value.
#[derive(Debug)]
enum Probe {
    /// A file that contains thousandths of a degree.
    Millidegrees(PathBuf),
    Load,
    MemoryUsed,
    DiskUsed,
    Uptime,
    /// A file that contains the throttling bits of the firmware in hexadecimal.
    Throttled(PathBuf),
    /// A file of the driver `rpi_volt` that contains 1 while the voltage is too low.
    Undervoltage(PathBuf),
}

impl System {
    /// The sensor of this machine.
    #[must_use]
    pub fn new() -> Self {
        Self::at("/")
    }

    /// The sensor of a machine with its `/proc` and `/sys` below a folder.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let cpu = cpu_temperature(&root).map(Probe::Millidegrees);
        let throttled = root.join("sys/devices/platform/soc/soc:firmware/get_throttled");
        let throttled = if throttled.exists() {
            Some(Probe::Throttled(throttled))
        } else {
            find(&root, "sys/class/hwmon", "name", &["rpi_volt"], "in0_lcrit_alarm").map(Probe::Undervoltage)
        };
        let candidates = [
            ("cpu-temperature", Unit::CELSIUS, cpu),
            ("load", Unit::COUNT, Some(Probe::Load)),
            ("memory-used", Unit::PERCENT, Some(Probe::MemoryUsed)),
            ("disk-used", Unit::PERCENT, Some(Probe::DiskUsed)),
            ("uptime", Unit::SECONDS, Some(Probe::Uptime)),
            ("throttled", Unit::BOOLEAN, throttled),
        ];
        let probes = candidates
            .into_iter()
            .filter_map(|(name, unit, probe)| {
                let quantity = Quantity::new(SensorType::new(name).ok()?, unit);
                probe.filter(|p| p.read(&root).is_some()).map(|probe| (quantity, probe))
            })
            .collect();
        Self { root, probes }
    }
}

impl Default for System {
    fn default() -> Self {
        Self::new()
    }
}

impl BlockingSensor for System {
    fn quantities(&self) -> Vec<Quantity> {
        self.probes.iter().map(|(quantity, _)| quantity.clone()).collect()
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let samples: Vec<Sample> = self
            .probes
            .iter()
            .map(|(quantity, probe)| match probe.read(&self.root) {
                Some(value) => Sample::new(quantity.clone(), value),
                None => Sample::no_data(quantity.clone(), "the kernel no longer shows it"),
            })
            .collect();
        if samples.iter().all(|sample| sample.outcome.value().is_none()) {
            let message = format!("nothing can be read below {}: is /proc mounted?", self.root.display());
            return Err(DeviceError::new(DeviceErrorKind::NotFound, message));
        }
        Ok(samples)
    }
}

impl Probe {
    fn read(&self, root: &Path) -> Option<f64> {
        let word =
            |file: &str| fs::read_to_string(root.join(file)).ok()?.split_whitespace().next()?.parse().ok();
        match self {
            Self::Millidegrees(file) => Some(number_in(file)? / 1000.0),
            Self::Undervoltage(file) => number_in(file),
            Self::Load => word("proc/loadavg"),
            Self::Uptime => word("proc/uptime"),
            Self::MemoryUsed => memory_used(&fs::read_to_string(root.join("proc/meminfo")).ok()?),
            Self::DiskUsed => disk_used(root),
            Self::Throttled(file) => {
                let text = fs::read_to_string(file).ok()?;
                let bits = u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()?;
                Some(f64::from(u8::from(bits & THROTTLED_NOW != 0)))
            }
        }
    }
}

/// The kernel's thermal zone of the processor, else the sensor chip of the processor.
fn cpu_temperature(root: &Path) -> Option<PathBuf> {
    const ZONES: [&str; 5] = ["cpu-thermal", "cpu_thermal", "x86_pkg_temp", "soc-thermal", "cpu0-thermal"];
    const CHIPS: [&str; 4] = ["cpu_thermal", "coretemp", "k10temp", "zenpower"];

    find(root, "sys/class/thermal", "type", &ZONES, "temp")
        .or_else(|| find(root, "sys/class/hwmon", "name", &CHIPS, "temp1_input"))
}

/// The file `value` of the first device of a class whose file `name` has one of the wanted texts.
fn find(root: &Path, class: &str, name: &str, wanted: &[&str], value: &str) -> Option<PathBuf> {
    Sysfs::at(root).entries(class).into_iter().find_map(|device| {
        let text = text_in(&device.join(name))?;
        wanted.contains(&text.as_str()).then(|| device.join(value))
    })
}

/// Memory that is not available to programs: caches count as available.
fn memory_used(meminfo: &str) -> Option<f64> {
    let field = |name: &str| -> Option<f64> {
        meminfo.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    let (total, available) = (field("MemTotal:")?, field("MemAvailable:")?);
    (total > 0.0).then(|| 100.0 * (1.0 - available / total))
}

/// Counts as `df` does: blocks reserved for root are not free space.
#[allow(clippy::cast_precision_loss)]
fn disk_used(root: &Path) -> Option<f64> {
    let disk = rustix::fs::statvfs(root).ok()?;
    let used = disk.f_blocks.saturating_sub(disk.f_bfree) as f64;
    let room = used + disk.f_bavail as f64;
    (room > 0.0).then(|| 100.0 * used / room)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        root
    }

    const PI: [(&str, &str); 6] = [
        ("proc/loadavg", "0.52 0.58 0.59 1/389 12345\n"),
        ("proc/uptime", "350735.47 234388.90\n"),
        ("proc/meminfo", "MemTotal:        4000000 kB\nMemFree: 100 kB\nMemAvailable:    3000000 kB\n"),
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
        ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n"),
    ];

    fn values(samples: &[Sample]) -> Vec<(String, Option<f64>)> {
        samples.iter().map(|s| (s.quantity.name().to_string(), s.outcome.value())).collect()
    }

    #[test]
    fn the_values_of_the_kernel_of_a_pi_are_read() {
        let root = machine(&PI);

        let mut values = values(&System::at(root.path()).sense().unwrap());

        let disk = values.remove(3);
        assert_eq!(disk.0, "disk-used");
        assert!((0.0..=100.0).contains(&disk.1.unwrap()), "{disk:?}");
        let expected = [
            ("cpu-temperature", 48.312),
            ("load", 0.52),
            ("memory-used", 25.0),
            ("uptime", 350_735.47),
            ("throttled", 1.0),
        ];
        assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), Some(value))));
    }

    #[test]
    fn a_value_that_the_kernel_does_not_provide_is_no_quantity() {
        let root = machine(&PI[..2]);

        let names: Vec<_> =
            System::at(root.path()).quantities().iter().map(|q| q.name().to_string()).collect();

        assert_eq!(names, ["load", "disk-used", "uptime"]);
    }

    #[test]
    fn under_voltage_of_a_pi_5_is_throttling() {
        let throttled = |alarm: &str| {
            let root = machine(&[
                ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
                ("sys/class/hwmon/hwmon3/name", "rpi_volt\n"),
                ("sys/class/hwmon/hwmon3/in0_lcrit_alarm", alarm),
            ]);
            let values = values(&System::at(root.path()).sense().unwrap());
            values.into_iter().find(|(name, _)| name == "throttled").and_then(|(_, value)| value)
        };

        assert_eq!(throttled("1\n"), Some(1.0));
        assert_eq!(throttled("0\n"), Some(0.0));
    }

    #[test]
    fn past_throttling_is_not_reported() {
        let root = machine(&[("sys/devices/platform/soc/soc:firmware/get_throttled", "0x50000\n")]);

        let values = values(&System::at(root.path()).sense().unwrap());

        assert!(values.contains(&("throttled".to_owned(), Some(0.0))), "{values:?}");
    }

    #[test]
    fn a_value_that_disappears_is_no_data() {
        let root = machine(&PI);
        let mut system = System::at(root.path());

        fs::remove_file(root.path().join("proc/loadavg")).unwrap();
        let values = values(&system.sense().unwrap());

        assert!(values.contains(&("load".to_owned(), None)));
        assert!(values.contains(&("uptime".to_owned(), Some(350_735.47))));
    }
}
