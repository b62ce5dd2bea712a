//! Checks a settings file.

use std::path::Path;

use crate::settings::Settings;

/// Prints the result of the check.
///
/// # Errors
/// The faults of the file.
pub fn check(file: &Path) -> anyhow::Result<()> {
    let settings = Settings::read(file)?;
    let count = settings.devices.len();
    let devices = if count == 1 { "device" } else { "devices" };
    println!("{}: module `{}` with {count} {devices}: no faults", file.display(), settings.id);
    Ok(())
}
