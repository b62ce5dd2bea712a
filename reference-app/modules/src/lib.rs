//! iotpi-modules
