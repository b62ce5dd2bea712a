//! Log output of a program, in one line.

use tracing_subscriber::{EnvFilter, fmt};

/// Prints log messages to standard error: those of level `info` and above, or those that the environment
/// variable `RUST_LOG` selects, such as `debug` or `iotpi_core=debug`. Without it the messages of a module are
/// discarded, except reports of a hub or camera that is absent.
///
/// Does nothing if the program has a `tracing` subscriber already.
///
/// ```
/// iotpi_core::log::init();
/// ```
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // An error means that there is a subscriber.
    let _ = fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
