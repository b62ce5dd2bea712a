//! Draws the 40-pin header of a Raspberry Pi with the wires of the devices of a settings file.

mod drawing;
mod header;
mod part;
mod plan;

use std::path::Path;

use crate::settings::Settings;

/// Prints the drawing as SVG.
///
/// # Errors
/// The faults of the file.
pub fn wiring(file: &Path) -> anyhow::Result<()> {
    print!("{}", svg(&Settings::read(file)?));
    Ok(())
}

/// The drawing; the same settings yield the same bytes.
fn svg(settings: &Settings) -> String {
    drawing::draw(settings.id.as_str(), &plan::plan(&settings.devices))
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    fn golden(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
    }

    /// `BLESS=1` writes the file anew.
    #[test]
    fn the_drawing_of_a_file_is_the_golden_one() {
        let settings = fs::read_to_string(golden("wiring.toml")).unwrap();
        let drawing = svg(&Settings::parse(&settings).unwrap());

        if env::var_os("BLESS").is_some() {
            fs::write(golden("wiring.svg"), &drawing).unwrap();
        }

        assert_eq!(drawing, fs::read_to_string(golden("wiring.svg")).unwrap());
    }
}
