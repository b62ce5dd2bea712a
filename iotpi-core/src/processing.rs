//! Sensors that process the values of another sensor: calibration and smoothing.
//!
//! A sample without data passes through unchanged. Deliberately absent: alarms and limits, which the hub and its
//! readers decide, and filters for what a driver can do better, such as debouncing.

mod calibration;
mod smoothing;

pub use self::{
    calibration::{Calibrated, Calibration, CalibrationError, MAX_CALIBRATION_POINTS},
    smoothing::{MAX_SMOOTHING_VALUES, Smoothed, Smoothing},
};
