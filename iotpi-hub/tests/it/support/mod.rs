//! Helpers of the tests: a hub with an HTTP client, WebSocket and raw clients, faulty networks, damaged files,
//! and bounded waits.

pub mod api;
pub mod faulty_network;
pub mod file_damage;
pub mod live;
pub mod seeded_random;
pub mod tmpfs;
pub mod wait;
pub mod wire;
