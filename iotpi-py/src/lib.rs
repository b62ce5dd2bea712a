//! iotpi-py
