//! iotpi-hub
