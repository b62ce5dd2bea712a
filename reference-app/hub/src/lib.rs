//! iotpi-hub-app
