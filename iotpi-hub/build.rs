//! Makes sure the folder the dashboard is embedded from exists; `make ui` fills it.
#![allow(missing_docs)]

fn main() -> std::io::Result<()> {
    let dashboard = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard");
    std::fs::create_dir_all(&dashboard)?;
    println!("cargo:rerun-if-changed={}", dashboard.display());
    Ok(())
}
