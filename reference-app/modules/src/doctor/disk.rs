//! Free space, and whether the outbox can be written.

use std::{io, path::Path};

use super::{Machine, finding::Finding};

const AREA: &str = "disk";
const MIB: u64 = 1 << 20;
/// The size of a full outbox.
const MIN_FREE: u64 = 64 * MIB;
const LOW_FREE: u64 = 512 * MIB;

/// Checks the disk of the outbox, or else that of the root folder.
pub fn check(machine: &Machine<'_>, outbox: Option<&Path>) -> Vec<Finding> {
    let folder = outbox.and_then(|folder| folder.ancestors().find(|folder| folder.is_dir()));
    let mut findings = match rustix::fs::statvfs(folder.unwrap_or(machine.root)) {
        Ok(disk) => vec![of_free(disk.f_bavail.saturating_mul(disk.f_frsize))],
        Err(error) => {
            vec![Finding::warn(AREA, format!("the free space is not known: {error}"), "df -h shows it")]
        }
    };
    findings.extend(folder.map(|folder| of_outbox(folder, tempfile_in(folder))));
    findings
}

fn of_free(bytes: u64) -> Finding {
    let text = format!("{} MiB free", bytes / MIB);
    let fix = "delete files: sudo journalctl --vacuum-size=50M; sudo apt clean";
    if bytes < MIN_FREE {
        Finding::fail(AREA, text, fix)
    } else if bytes < LOW_FREE {
        Finding::warn(AREA, text, fix)
    } else {
        Finding::ok(AREA, text)
    }
}

fn of_outbox(folder: &Path, written: io::Result<()>) -> Finding {
    let folder = folder.display();
    match written {
        Ok(()) => Finding::ok("outbox", format!("{folder} can be written")),
        Err(error) => Finding::fail(
            "outbox",
            format!("{folder} cannot be written: {error}"),
            format!("sudo chown $USER {folder}"),
        ),
    }
}

/// Writes a file and deletes it.
fn tempfile_in(folder: &Path) -> io::Result<()> {
    let file = folder.join(format!(".iotpi-doctor-{}", std::process::id()));
    std::fs::write(&file, "")?;
    std::fs::remove_file(file)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            finding::Level,
            testing::{machine, tree},
        },
        *,
    };

    #[test]
    fn little_free_space_is_a_warning_and_too_little_a_failure() {
        let levels = [10 * MIB, 100 * MIB, 1000 * MIB].map(|bytes| of_free(bytes).level);

        assert_eq!(levels, [Level::Fail, Level::Warn, Level::Ok]);
    }

    #[test]
    fn an_outbox_that_cannot_be_written_fails() {
        let root = tree(&[]);
        let denied = Err(io::Error::from(io::ErrorKind::PermissionDenied));

        let found = check(&machine(root.path()), Some(&root.path().join("not/yet/there")));

        assert_eq!(found[1].level, Level::Ok, "{found:?}");
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
        assert_eq!(of_outbox(root.path(), denied).level, Level::Fail);
    }
}
