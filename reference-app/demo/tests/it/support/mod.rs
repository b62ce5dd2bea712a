//! Helpers of several tests: a demo, a hub as a process, live events, and bounded waits.

pub mod demo;
pub mod live;
pub mod programs;
#[path = "../../../../../iotpi-hub/tests/it/support/wait.rs"]
pub mod wait;
