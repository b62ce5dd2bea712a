//! Helpers of several tests: the program on the command line and as a running hub, frames, random numbers,
//! and bounded waits.

pub mod blocking_hub;
pub mod hub_process;
pub mod jpeg;
pub mod program;
#[path = "../../../../../iotpi-hub/tests/it/support/seeded_random.rs"]
pub mod seeded_random;
#[path = "../../../../../iotpi-hub/tests/it/support/wait.rs"]
pub mod wait;
