//! Readings: recording, reading back, delivery, wrong clocks and bad networks.

mod channels;
mod client;
mod delivery;
mod device_formats;
mod network_faults;
mod sensors;
mod wrong_clock;
