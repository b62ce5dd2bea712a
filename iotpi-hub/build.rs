//! Rebuilds the crate when the dashboard that it embeds changes.
#![allow(missing_docs)]

fn main() {
    let watched = match std::env::var_os("CARGO_FEATURE_DASHBOARD") {
        None => "build.rs",
        Some(_) if std::path::Path::new("dashboard").exists() => "dashboard",
        // cargo would run this script before each build if it watched a folder that does not exist.
        Some(_) => ".",
    };
    println!("cargo:rerun-if-changed={watched}");
}
