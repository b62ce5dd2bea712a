//! Creates the folder of a new module from a template.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use clap::Args;
use iotpi_core::ModuleId;

/// The name in the templates.
const TEMPLATE_NAME: &str = "my-module";

/// The files of a template: path and text.
type Template = &'static [(&'static str, &'static str)];

/// `src/main.rs` is an example of this crate, too: its test is one of this crate.
const RUST: Template = &[
    ("Cargo.toml", include_str!("../templates/rust/Cargo.toml.template")),
    ("README.md", include_str!("../templates/rust/README.md")),
    ("src/main.rs", include_str!("../templates/rust/main.rs")),
];

const PYTHON: Template = &[
    ("README.md", include_str!("../templates/python/README.md")),
    ("module.py", include_str!("../templates/python/module.py")),
    ("test_module.py", include_str!("../templates/python/test_module.py")),
];

/// The arguments of the command.
#[derive(Debug, Args)]
pub struct New {
    /// The id of the module, and the name of its folder: `water-level`.
    name: ModuleId,
    #[command(flatten)]
    language: Language,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Language {
    /// A program in Rust.
    #[arg(long)]
    rust: bool,
    /// A program in Python.
    #[arg(long)]
    python: bool,
}

/// Creates the folder.
///
/// # Errors
/// It exists, or cannot be written.
pub fn new(new: &New) -> anyhow::Result<()> {
    let template = if new.language.rust { RUST } else { PYTHON };
    let folder = PathBuf::from(new.name.as_str());
    create(&folder, &new.name, template)?;
    println!("{} is created: read {}", folder.display(), folder.join("README.md").display());
    Ok(())
}

fn create(folder: &Path, name: &ModuleId, template: Template) -> anyhow::Result<()> {
    ensure!(!folder.exists(), "{} exists already", folder.display());
    for (file, text) in template {
        let file = folder.join(file);
        let text = text.replace(TEMPLATE_NAME, name.as_str());
        let parent = file.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&file, text))
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_has_its_name_in_every_file() {
        for (template, main) in [(RUST, "src/main.rs"), (PYTHON, "module.py")] {
            let place = tempfile::tempdir().unwrap();
            let folder = place.path().join("water-level");

            create(&folder, &"water-level".parse().unwrap(), template).unwrap();

            for (file, _) in template {
                let text = fs::read_to_string(folder.join(file)).unwrap();
                assert!(text.contains("water-level") && !text.contains(TEMPLATE_NAME), "{file}: {text}");
            }
            assert!(folder.join(main).is_file());
        }
    }

    #[test]
    fn a_folder_that_exists_is_left_alone() {
        let place = tempfile::tempdir().unwrap();

        assert!(create(place.path(), &"water-level".parse().unwrap(), RUST).is_err());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
