//! Attacks by clients with few rights or none: they do not affect other clients.

mod answers;
mod authorization;
mod bodies;
mod clocks;
mod connections;
mod flood;
mod live;
mod logins;
mod quotas;
mod revocation;
mod schemas;
mod security_log;

/// The resident memory of this process, which includes the hub, in bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}
