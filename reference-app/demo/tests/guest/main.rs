//! Modules in guests of QEMU, with real kernels; the hub runs on the host.
//!
//! `make test-vm` and `make test-pi` build the guests (`scripts/guest.sh`) and run these tests.
#![allow(clippy::unwrap_used)]

mod camera;
mod machine;
#[path = "../it/support/programs.rs"]
mod programs;
mod raspberry_pi;
