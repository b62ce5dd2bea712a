//! The program as a process: its command line, and hubs that are killed, attacked and damaged. The tests of
//! the hub itself are in `iotpi-hub`, those with modules in the demo.
#![allow(clippy::unwrap_used)]

mod attacks;
mod command_line;
mod deploy;
mod hub_kill;
mod maintenance;
mod recordings;
mod stalled;
mod support;
mod users;
mod watchdog;
