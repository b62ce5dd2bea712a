//! Log output of a program, in one line.

use std::io::{self, IsTerminal};

use tracing::Level;
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Prints log messages to standard error, in colour if it is a terminal and `NO_COLOR` is not set: those of level `info` and above, or
/// those that the environment variable `RUST_LOG` selects, such as `debug`, `iotpi_core=debug` or
/// `warn,iotpi_core=trace`. A `RUST_LOG` that cannot be parsed is reported there and ignored. Without this
/// call the messages of a module are discarded, except reports of a hub or camera that is absent.
///
/// Does nothing if the program has a `tracing` subscriber already.
///
/// ```
/// iotpi_core::log::init();
/// ```
pub fn init() {
    let (filter, error) = filter(std::env::var("RUST_LOG").ok().as_deref());
    let output = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        // A log that cannot be written is no reason to exit.
        .log_internal_errors(false);
    // An error means that there is a subscriber.
    if tracing_subscriber::registry().with(output).with(filter).try_init().is_ok()
        && let Some(error) = error
    {
        tracing::warn!("RUST_LOG is ignored: {error}");
    }
}

/// The filter of a value of `RUST_LOG`, and why the value is ignored.
///
/// `Targets` instead of `EnvFilter`: it has no filters by span and field, and needs no regular expressions,
/// which were a fifth of the size of a small module.
fn filter(selected: Option<&str>) -> (Targets, Option<String>) {
    let default = Targets::new().with_default(Level::INFO);
    match selected.map(str::trim).filter(|text| !text.is_empty()).map(str::parse) {
        None => (default, None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (default, Some(format!("{error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enabled(selected: &str, target: &str, level: Level) -> bool {
        filter(Some(selected)).0.would_enable(target, &level)
    }

    #[test]
    fn levels_are_selected_for_all_targets_or_for_one() {
        assert!(enabled("debug", "iotpi_core", Level::DEBUG));
        assert!(enabled("warn,iotpi_core=trace", "iotpi_core::client", Level::TRACE));
        assert!(!enabled("warn,iotpi_core=trace", "hyper", Level::INFO));
        assert!(!enabled("iotpi_core=debug", "hyper", Level::ERROR));
        assert!(!enabled("off", "iotpi_core", Level::ERROR));
    }

    #[test]
    fn info_is_the_default_and_replaces_a_value_that_cannot_be_parsed() {
        for selected in [None, Some(""), Some("iotpi_core=loud")] {
            let (filter, error) = filter(selected);

            assert!(filter.would_enable("any", &Level::INFO) && !filter.would_enable("any", &Level::DEBUG));
            assert_eq!(error.is_some(), selected == Some("iotpi_core=loud"));
        }
    }
}
