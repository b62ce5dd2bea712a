//! Whether the clock is set.

use super::{Machine, finding::Finding};

const AREA: &str = "clock";
/// systemd-timesyncd(8): the file is there after the first synchronization.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";

pub fn check(machine: &Machine<'_>) -> Finding {
    if machine.path(SYNCHRONIZED).exists() {
        return Finding::ok(AREA, "synchronized with a time server");
    }
    if ["/run/chrony/chronyd.pid", "/run/chronyd.pid", "/run/ntpd.pid"]
        .iter()
        .any(|file| machine.path(file).exists())
    {
        return Finding::ok(AREA, "chrony or ntpd keeps it: `chronyc tracking` shows how exact it is");
    }
    Finding::warn(
        AREA,
        "not synchronized: the hub estimates the times of readings",
        "sudo timedatectl set-ntp true, and check the network",
    )
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
    fn a_time_server_must_have_answered_or_another_program_keep_the_clock() {
        for (files, level) in [
            (&[("run/systemd/timesync/synchronized", "")][..], Level::Ok),
            (&[("run/chrony/chronyd.pid", "812")], Level::Ok),
            (&[], Level::Warn),
        ] {
            let root = tree(files);
            assert_eq!(check(&machine(root.path())).level, level, "{files:?}");
        }
    }
}
