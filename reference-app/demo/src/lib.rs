//! iotpi-demo
