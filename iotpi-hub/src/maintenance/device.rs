//! The kind of the device that stores a file, read from sysfs. It decides how much the hub spares the device.
//!
//! Deliberately absent: file systems that span several devices (btrfs, overlay), tmpfs and network file
//! systems, which are [`DeviceKind::Unknown`].

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use serde::Serialize;
use utoipa::ToSchema;

use crate::config::CommitWindow;

/// The kind of the device that stores a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// An SD card, or other removable flash (a stick, a card in a USB reader).
    Sd,
    /// Soldered flash on the same bus.
    Emmc,
    /// A solid-state disk.
    Ssd,
    /// A rotating disk, or a device that reports to be one, as the disks of many virtual machines do.
    Hdd,
    /// Not a single block device, or one that does not report its kind.
    Unknown,
}

impl DeviceKind {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sd => "sd",
            Self::Emmc => "emmc",
            Self::Ssd => "ssd",
            Self::Hdd => "hdd",
            Self::Unknown => "unknown",
        }
    }

    /// The commit window on a device of this kind.
    ///
    /// ```
    /// use std::time::Duration;
    /// use iotpi_hub::{CommitWindow, maintenance::DeviceKind};
    ///
    /// assert_eq!(DeviceKind::Sd.commit_window(CommitWindow::Auto), Duration::from_millis(200));
    /// assert_eq!(DeviceKind::Ssd.commit_window(CommitWindow::Auto), Duration::ZERO);
    /// ```
    #[must_use]
    pub fn commit_window(self, setting: CommitWindow) -> Duration {
        match setting {
            // Each commit dirties at least one block of the card's flash, however small it is.
            CommitWindow::Auto if matches!(self, Self::Sd | Self::Emmc) => Duration::from_millis(200),
            CommitWindow::Auto | CommitWindow::None => Duration::ZERO,
            CommitWindow::Millis(millis) => Duration::from_millis(millis.into()),
        }
    }
}

/// The kind of the device that stores the file, or would store it. `sys` is the mount point of sysfs: `/sys`.
#[must_use]
pub fn device_kind(sys: &Path, file: &Path) -> DeviceKind {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    // A file that does not exist yet is created on the device of its nearest existing folder.
    let Some(there) = file.ancestors().find_map(|path| fs::metadata(path).ok()) else {
        return DeviceKind::Unknown;
    };
    let number = there.dev();
    block_device(sys, rustix::fs::major(number), rustix::fs::minor(number))
}

/// The kind of the device with this number (Linux, Documentation/ABI/stable/sysfs-block).
fn block_device(sys: &Path, major: u32, minor: u32) -> DeviceKind {
    let Ok(found) = sys.join(format!("dev/block/{major}:{minor}")).canonicalize() else {
        return DeviceKind::Unknown;
    };
    // The folder of a partition is inside that of its disk.
    let disk = match found.parent() {
        Some(disk) if found.join("partition").exists() => disk,
        _ => &found,
    };
    kind_of_disk(disk, 0)
}

fn kind_of_disk(disk: &Path, depth: u8) -> DeviceKind {
    let name = disk.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let says = |file: &str| fs::read_to_string(disk.join(file)).unwrap_or_default().trim().to_owned();
    if name.starts_with("mmcblk") {
        return match says("device/type").as_str() {
            "SD" => DeviceKind::Sd,
            "MMC" => DeviceKind::Emmc,
            _ => DeviceKind::Unknown,
        };
    }
    // LVM and dm-crypt list the devices below them; if those differ, the most fragile one counts.
    let below = fs::read_dir(disk.join("slaves")).into_iter().flatten().flatten();
    let below: Vec<_> = below.filter_map(|entry| entry.path().canonicalize().ok()).collect();
    if !below.is_empty() && depth < 8 {
        let kinds: Vec<_> = below.iter().map(|disk| kind_of_disk(&whole(disk), depth + 1)).collect();
        let fragile = [DeviceKind::Sd, DeviceKind::Emmc, DeviceKind::Ssd, DeviceKind::Hdd];
        return fragile.into_iter().find(|kind| kinds.contains(kind)).unwrap_or(DeviceKind::Unknown);
    }
    if ["loop", "ram", "zram", "dm-", "md"].iter().any(|prefix| name.starts_with(prefix)) {
        return DeviceKind::Unknown;
    }
    match (says("removable").as_str(), says("queue/rotational").as_str()) {
        // Sticks and card readers often report to be rotating.
        ("1", _) => DeviceKind::Sd,
        (_, "0") => DeviceKind::Ssd,
        (_, "1") => DeviceKind::Hdd,
        _ => DeviceKind::Unknown,
    }
}

/// The disk of a partition's folder, or the disk itself.
fn whole(found: &Path) -> std::path::PathBuf {
    match found.parent() {
        Some(disk) if found.join("partition").exists() => disk.to_owned(),
        _ => found.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A simulated sysfs.
    struct Sys(tempfile::TempDir);

    impl Sys {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir_all(root.path().join("dev/block")).unwrap();
            Self(root)
        }

        /// Adds a device at `devices/PATH` with these files and this number.
        fn with(self, number: &str, path: &str, files: &[(&str, &str)]) -> Self {
            let folder = self.0.path().join("devices").join(path);
            fs::create_dir_all(&folder).unwrap();
            for (name, text) in files {
                let file = folder.join(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, format!("{text}\n")).unwrap();
            }
            symlink(&folder, self.0.path().join("dev/block").join(number)).unwrap();
            self
        }

        /// Puts one device on top of another.
        fn on(self, upper: &str, lower: &str) -> Self {
            let devices = self.0.path().join("devices");
            let slaves = devices.join(upper).join("slaves");
            fs::create_dir_all(&slaves).unwrap();
            symlink(devices.join(lower), slaves.join(Path::new(lower).file_name().unwrap())).unwrap();
            self
        }

        fn kind(&self, major: u32, minor: u32) -> DeviceKind {
            block_device(self.0.path(), major, minor)
        }
    }

    #[test]
    fn an_sd_card_and_emmc_are_distinguished_by_their_type() {
        let sys = Sys::new()
            .with("179:0", "mmc0/block/mmcblk0", &[("device/type", "SD"), ("queue/rotational", "0")])
            .with("179:2", "mmc0/block/mmcblk0/mmcblk0p2", &[("partition", "2")])
            .with("179:32", "mmc1/block/mmcblk1", &[("device/type", "MMC")])
            .with("179:64", "mmc2/block/mmcblk2", &[("device/type", "SDIO")]);

        assert_eq!([sys.kind(179, 0), sys.kind(179, 2)], [DeviceKind::Sd; 2]);
        assert_eq!(sys.kind(179, 32), DeviceKind::Emmc);
        assert_eq!(sys.kind(179, 64), DeviceKind::Unknown);
    }

    #[test]
    fn disks_report_whether_they_rotate() {
        let sys = Sys::new()
            .with("259:0", "nvme0n1", &[("queue/rotational", "0"), ("removable", "0")])
            .with("259:1", "nvme0n1/nvme0n1p1", &[("partition", "1")])
            .with("8:0", "sda", &[("queue/rotational", "1"), ("removable", "0")])
            .with("8:16", "sdb", &[("queue/rotational", "1"), ("removable", "1")]);

        assert_eq!([sys.kind(259, 0), sys.kind(259, 1)], [DeviceKind::Ssd; 2]);
        assert_eq!(sys.kind(8, 0), DeviceKind::Hdd);
        assert_eq!(sys.kind(8, 16), DeviceKind::Sd, "a stick");
    }

    #[test]
    fn a_device_on_top_of_another_is_as_fragile() {
        let sys = Sys::new()
            .with("179:0", "mmc0/block/mmcblk0", &[("device/type", "SD")])
            .with("179:2", "mmc0/block/mmcblk0/mmcblk0p2", &[("partition", "2")])
            .with("8:0", "sda", &[("queue/rotational", "0")])
            .with("252:0", "virtual/block/dm-0", &[("queue/rotational", "0")])
            .with("252:1", "virtual/block/dm-1", &[("queue/rotational", "0")])
            .on("virtual/block/dm-0", "mmc0/block/mmcblk0/mmcblk0p2")
            .on("virtual/block/dm-0", "sda")
            .on("virtual/block/dm-1", "virtual/block/dm-1");

        assert_eq!(sys.kind(252, 0), DeviceKind::Sd);
        assert_eq!(sys.kind(252, 1), DeviceKind::Unknown, "a circle ends");
    }

    #[test]
    fn a_file_system_without_a_block_device_is_unknown() {
        let sys = Sys::new().with("7:0", "virtual/block/loop0", &[("queue/rotational", "1")]).with(
            "253:0",
            "virtual/block/zram0",
            &[("queue/rotational", "0")],
        );

        for (major, minor) in [(0, 45), (7, 0), (253, 0), (999, 1)] {
            assert_eq!(sys.kind(major, minor), DeviceKind::Unknown, "{major}:{minor}");
        }
    }

    #[test]
    fn a_file_that_does_not_exist_yet_has_the_device_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let number = fs::metadata(folder.path()).unwrap().dev();
        let name = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
        let sys = Sys::new().with(&name, "mmcblk7", &[("device/type", "MMC")]);

        let kind = device_kind(sys.0.path(), &folder.path().join("not/yet/hub.db"));

        assert_eq!(kind, DeviceKind::Emmc);
    }
}
