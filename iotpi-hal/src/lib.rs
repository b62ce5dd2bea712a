//! iotpi-hal
