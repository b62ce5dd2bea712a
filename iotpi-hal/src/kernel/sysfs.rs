//! Reads files of the kernel with errors that state how to fix the problem.

use std::{
    cmp::Ordering,
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use iotpi_core::{DeviceError, DeviceErrorKind};

/// The kernel shows at most one page in an attribute.
const MAX_ATTRIBUTE_BYTES: u64 = 4096;

/// The folder that contains `sys`, `proc` and `etc`: `/`, or in a test a tree of the same files.
///
/// ```
/// use iotpi_hal::kernel::Sysfs;
///
/// assert_eq!(Sysfs::new().path("sys/class/leds"), std::path::Path::new("/sys/class/leds"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysfs {
    root: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self::new()
    }
}

impl Sysfs {
    /// The files of this machine.
    #[must_use]
    pub fn new() -> Self {
        Self::at("/")
    }

    /// The files below another folder.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The path of a file, given relative to the root: `sys/class/leds`.
    #[must_use]
    pub fn path(&self, file: impl AsRef<Path>) -> PathBuf {
        self.root.join(file)
    }

    /// The entries of a folder in natural order (`hwmon2` before `hwmon10`); none if there is no such folder.
    pub(crate) fn entries(&self, folder: &str) -> Vec<PathBuf> {
        entries(&self.path(folder))
    }

    /// The names of the entries of a folder that have this file, in natural order.
    pub(crate) fn names_with(&self, folder: &str, file: &str) -> Vec<String> {
        let entries = self.entries(folder).into_iter().filter(|entry| entry.join(file).exists());
        entries.filter_map(|entry| Some(entry.file_name()?.to_str()?.to_owned())).collect()
    }

    /// The number in a file.
    pub(crate) fn number(&self, file: &Path) -> Result<f64, DeviceError> {
        let text = self.text(file)?;
        parse_number(&text).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            let message = format!("{} contains {shown:?}, not a number", file.display());
            DeviceError::new(DeviceErrorKind::InvalidData, message)
        })
    }

    /// The text in a file, without white space at the end.
    pub(crate) fn text(&self, file: &Path) -> Result<String, DeviceError> {
        read(file).map_err(|error| self.error(file, error))
    }

    /// Writes an attribute. It does not create a file.
    #[cfg(feature = "tokio")]
    pub(crate) fn write(&self, file: &Path, text: &str) -> Result<(), DeviceError> {
        write(file, text).map_err(|error| self.error(file, error))
    }

    /// Whether the user may write an attribute.
    #[cfg(feature = "tokio")]
    pub(crate) fn check_writable(&self, file: &Path) -> Result<(), DeviceError> {
        fs::OpenOptions::new().write(true).open(file).map(drop).map_err(|error| self.error(file, error))
    }

    /// The error of reading or writing a file.
    pub(crate) fn error(&self, file: &Path, error: io::Error) -> DeviceError {
        let name = file.display();
        let (kind, message) = match (error.raw_os_error(), error.kind()) {
            (Some(errno::ENODEV | errno::ENXIO), _) | (_, io::ErrorKind::NotFound) => {
                (DeviceErrorKind::NotFound, format!("{name} is not there: was the device unplugged?"))
            }
            (_, io::ErrorKind::PermissionDenied) => {
                (DeviceErrorKind::PermissionDenied, self.permission_message(file))
            }
            (_, io::ErrorKind::TimedOut) => {
                (DeviceErrorKind::Timeout, format!("{name}: the device did not answer the kernel in time"))
            }
            (_, io::ErrorKind::WouldBlock) => {
                (DeviceErrorKind::Timeout, format!("{name}: the device has no new measurement yet"))
            }
            (_, io::ErrorKind::InvalidData) => {
                (DeviceErrorKind::InvalidData, format!("{name} contains no text"))
            }
            (Some(errno::EBUSY), _) => (
                DeviceErrorKind::Bus,
                format!("{name} is busy: the device has just started, or another program uses it"),
            ),
            _ => (DeviceErrorKind::Bus, format!("{name}: the kernel got no answer ({error})")),
        };
        DeviceError::new(kind, message).with_source(error)
    }

    /// Names the group that may use the file, from its owner and `/etc/group`.
    fn permission_message(&self, file: &Path) -> String {
        let name = file.display();
        let group = fs::metadata(file).ok().map(|about| about.gid()).filter(|gid| *gid != 0);
        match group.and_then(|gid| self.group(gid)) {
            Some(group) => format!(
                "{name} may not be used: add the user to group {group} (`sudo usermod -aG {group} $USER`) and log in \
                 again"
            ),
            None => format!(
                "{name} may be used by root only: add a udev rule for it (docs/howto/kernel-sensors.md)"
            ),
        }
    }

    /// The name of a group, from `NAME:PASSWORD:GID:MEMBERS` in `/etc/group`.
    fn group(&self, gid: u32) -> Option<String> {
        let groups = fs::read_to_string(self.path("etc/group")).ok()?;
        groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
        })
    }
}

mod errno {
    pub const ENXIO: i32 = 6;
    pub const EBUSY: i32 = 16;
    pub const ENODEV: i32 = 19;
}

#[cfg(feature = "tokio")]
pub(crate) fn write(file: &Path, text: &str) -> io::Result<()> {
    io::Write::write_all(&mut fs::OpenOptions::new().write(true).truncate(true).open(file)?, text.as_bytes())
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(file)?.take(MAX_ATTRIBUTE_BYTES).read_to_string(&mut text)?;
    text.truncate(text.trim_end().len());
    Ok(text)
}

/// The text in a file, if it is readable and not empty.
pub(crate) fn text_in(file: &Path) -> Option<String> {
    read(file).ok().filter(|text| !text.is_empty())
}

/// The number in a file, if there is one.
pub(crate) fn number_in(file: &Path) -> Option<f64> {
    parse_number(&read(file).ok()?)
}

/// A finite decimal number. Words such as `inf`, and a unit after the number, are refused.
fn parse_number(text: &str) -> Option<f64> {
    let text = text.trim();
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|number: &f64| is_decimal && number.is_finite())
}

pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.sort_by(|a, b| natural_order(&a.to_string_lossy(), &b.to_string_lossy()));
    found
}

/// Compares texts so that numbers in them are in numeric order.
pub(crate) fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (Some(x), Some(y)) = (a.chars().next(), b.chars().next()) else { return a.cmp(b) };
        let (first, second) = (digits(a), digits(b));
        let order = match (first.parse::<u64>(), second.parse::<u64>()) {
            (Ok(n), Ok(m)) => n.cmp(&m).then(first.len().cmp(&second.len())),
            _ => x.cmp(&y),
        };
        if order != Ordering::Equal {
            return order;
        }
        let taken = first.len().max(x.len_utf8());
        (a, b) = (&a[taken..], &b[taken..]);
    }
}

/// The digits at the beginning of a text.
pub(crate) fn digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn numbers_are_decimal_and_finite() {
        for (text, value) in [("21500", 21_500.0), ("-0.000100\n", -0.0001), ("1e3", 1000.0), (" 7 ", 7.0)] {
            assert_eq!(parse_number(text), Some(value), "{text}");
        }
        for text in ["", "inf", "NaN", "1e999", "0x10", "3.000000 dB", "1 2 3 4", "٣", "1_000", "12\0"] {
            assert_eq!(parse_number(text), None, "{text}");
        }
    }

    #[test]
    fn entries_are_in_natural_order() {
        let folder = folder();
        for name in ["hwmon10", "hwmon2", "hwmon1", "w1_bus_master1", "28-00a", "hwmon"] {
            fs::write(folder.path().join(name), "").unwrap();
        }

        let names: Vec<_> =
            entries(folder.path()).iter().map(|p| p.file_name().unwrap().to_owned()).collect();

        assert_eq!(names, ["28-00a", "hwmon", "hwmon1", "hwmon2", "hwmon10", "w1_bus_master1"]);
        assert_eq!(natural_order("a01", "a1"), Ordering::Greater);
        assert_eq!(natural_order("ä2", "ä2b"), Ordering::Less);
    }

    #[test]
    fn an_odd_file_is_an_error_of_its_kind() {
        let root = folder();
        let sysfs = Sysfs::at(root.path());
        let file = |name: &str| root.path().join(name);
        fs::create_dir(file("folder")).unwrap();
        fs::write(file("bytes"), [0xFF, 0xFE, 0x00]).unwrap();
        fs::write(file("empty"), "").unwrap();
        fs::write(file("huge"), "9".repeat(1_000_000)).unwrap();
        symlink("loop", file("loop")).unwrap();

        let kind = |name: &str| sysfs.number(&file(name)).unwrap_err().kind();
        assert_eq!(kind("folder"), DeviceErrorKind::Bus);
        assert_eq!(kind("bytes"), DeviceErrorKind::InvalidData);
        assert_eq!(kind("empty"), DeviceErrorKind::InvalidData);
        assert_eq!(kind("huge"), DeviceErrorKind::InvalidData);
        assert_eq!(kind("absent"), DeviceErrorKind::NotFound);
        assert_eq!(kind("loop"), DeviceErrorKind::Bus);
    }

    #[test]
    fn an_error_number_of_the_kernel_gives_the_kind() {
        let sysfs = Sysfs::new();
        let kind =
            |number| sysfs.error(Path::new("in_temp_input"), io::Error::from_raw_os_error(number)).kind();
        // asm-generic/errno-base.h and errno.h: EIO, EAGAIN, ENODEV, EBUSY, ETIMEDOUT, EREMOTEIO.
        let numbers = [5, 11, 19, 16, 110, 121];

        use DeviceErrorKind::{Bus, NotFound, Timeout};
        assert_eq!(numbers.map(kind), [Bus, Timeout, NotFound, Bus, Timeout, Bus]);
    }

    #[test]
    fn a_denied_permission_names_the_group_of_the_file() {
        let root = folder();
        let file = root.path().join("brightness");
        fs::write(&file, "0").unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        let gid = fs::metadata(&file).unwrap().gid();
        let (gid, may_change) =
            if chown(&file, None, Some(gid + 4242)).is_ok() { (gid + 4242, true) } else { (gid, false) };
        fs::write(root.path().join("etc/group"), format!("root:x:0:\nbroken\nlamps:x:{gid}:anna\n")).unwrap();
        let denied = || {
            let error = io::Error::from(io::ErrorKind::PermissionDenied);
            Sysfs::at(root.path()).error(&file, error)
        };

        assert_eq!(denied().kind(), DeviceErrorKind::PermissionDenied);
        assert!(denied().to_string().contains("usermod -aG lamps"), "{}", denied());
        if may_change {
            chown(&file, None, Some(0)).unwrap();
            assert!(denied().to_string().contains("udev rule"), "{}", denied());
        }
    }
}
