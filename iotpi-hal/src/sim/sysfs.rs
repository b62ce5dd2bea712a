//! Trees of kernel files in temporary folders.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use iotpi_core::{DeviceError, DeviceErrorKind};
use tempfile::TempDir;

use crate::kernel::Sysfs;

/// A tree of kernel files in a temporary folder, which is deleted with it.
///
/// The text of a tree has one line for each file:
///
/// | line | meaning |
/// |---|---|
/// | `[sys/devices/i2c-1/1-0076/iio:device0]` | the folder of the following lines |
/// | `@ sys/bus/iio/devices` | a link to that folder, with its name, in a folder of a class |
/// | `name = bme280` | a file with its text and a line feed; an empty file without text |
/// | `device -> ../..` | a symbolic link |
/// | `# ...` | a comment |
///
/// ```
/// use iotpi_hal::{drivers::BlockingSensor, kernel::{DeviceFilter, iio::{Iio, IioConfig}}, sim::SimSysfs};
///
/// let tree = SimSysfs::new("
///     [sys/bus/iio/devices/iio:device0]
///     name = bh1750
///     in_illuminance_raw = 100
///     in_illuminance_scale = 0.833333333
/// ")?;
/// let mut chip = Iio::open(tree.sysfs(), DeviceFilter::named("bh1750"), IioConfig::default())?;
/// assert_eq!(chip.sense()?[0].outcome.value(), Some(83.3333333));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SimSysfs {
    folder: TempDir,
}

impl SimSysfs {
    /// Writes a tree.
    ///
    /// # Errors
    /// A line is wrong, or the folder cannot be written.
    pub fn new(text: &str) -> io::Result<Self> {
        let tree = Self { folder: tempfile::Builder::new().prefix("iotpi-sysfs-").tempdir()? };
        tree.unpack(text)?;
        Ok(tree)
    }

    /// The files for the drivers of [`kernel`](crate::kernel).
    #[must_use]
    pub fn sysfs(&self) -> Sysfs {
        Sysfs::at(self.folder.path())
    }

    /// The path of a file of the tree.
    #[must_use]
    pub fn path(&self, file: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Writes the lines of a text into the tree. Files with other names stay.
    ///
    /// # Errors
    /// A line is wrong, or the folder cannot be written.
    pub fn unpack(&self, text: &str) -> io::Result<()> {
        let mut folder = self.folder.path().to_owned();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                folder = self.path(name);
                fs::create_dir_all(&folder)?;
            } else if let Some(class) = line.strip_prefix("@ ") {
                fs::create_dir_all(self.path(class))?;
                link(&folder, &self.path(class).join(folder.file_name().unwrap_or_default()))?;
            } else if let Some((name, target)) = line.split_once(" -> ") {
                link(Path::new(target), &folder.join(name))?;
            } else if let Some((name, value)) = line.split_once('=') {
                let (name, value) = (name.trim_end(), value.trim_start());
                let line_feed = if value.is_empty() { "" } else { "\n" };
                fs::write(folder.join(name), format!("{value}{line_feed}"))?;
            } else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("not a line of a tree: {line}"),
                ));
            }
        }
        Ok(())
    }
}

fn link(target: &Path, name: &Path) -> io::Result<()> {
    match symlink(target, name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// The error of a simulated device that cannot write its files.
pub(crate) fn write_error(error: io::Error) -> DeviceError {
    DeviceError::new(DeviceErrorKind::Other, "the simulated sysfs folder cannot be written")
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_files_links_and_classes() {
        let tree = SimSysfs::new(
            "# two\n[sys/devices/a/x0]\n@ sys/class/x\nname = one = two\nempty =\ndevice -> ..\n[sys/other]\nk = v",
        )
        .unwrap();
        let text = |file: &str| fs::read_to_string(tree.path(file)).unwrap();

        assert_eq!(text("sys/class/x/x0/name"), "one = two\n");
        assert_eq!(text("sys/devices/a/x0/empty"), "");
        assert_eq!(text("sys/other/k"), "v\n");
        assert!(fs::canonicalize(tree.path("sys/class/x/x0/device")).unwrap().ends_with("sys/devices/a"));
        assert!(SimSysfs::new("nonsense").is_err());
    }
}
