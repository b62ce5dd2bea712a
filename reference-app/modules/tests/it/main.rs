//! The program's command line.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn iotpi_module(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_iotpi-module"))
        .args(arguments)
        .env_remove("IOTPI_TOKEN")
        .env_remove("IOTPI_URL")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn list_shows_a_line_for_each_driver() {
    let listed = iotpi_module(&["list"]);

    assert!(listed.status.success());
    let table = text(&listed.stdout);
    for driver in ["bme280", "ds18b20", "led", "motion", "system", "testcard", "replay"] {
        assert!(table.lines().any(|line| line.starts_with(driver)), "{driver}:\n{table}");
    }
}

#[test]
fn what_is_wrong_with_the_settings_is_said_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lamp.toml");
    std::fs::write(&file, "id = \"lamp\"\nhubb = \"http://127.0.0.1:8000\"\n").unwrap();

    let ran = iotpi_module(&["run", file.to_str().unwrap()]);

    let said = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1));
    assert!(said.contains("lamp.toml") && said.contains("line 2") && said.contains("hubb"), "{said}");
}

#[test]
fn a_module_without_a_token_is_told_how_to_get_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lamp.toml");
    std::fs::write(&file, "id = \"lamp\"\n[[device]]\ndriver = \"led\"\nbus = \"sim\"\npin = 17\n").unwrap();

    let ran = iotpi_module(&["run", file.to_str().unwrap()]);

    assert_eq!(ran.status.code(), Some(1));
    assert!(text(&ran.stderr).contains("iotpi-hub token add --role module --module lamp"));
}

#[test]
fn every_command_has_its_help() {
    for arguments in [&["--help"][..], &["run", "--help"], &["list", "--help"]] {
        let helped = iotpi_module(arguments);

        assert!(
            helped.status.success() && text(&helped.stdout).contains("Usage: iotpi-module"),
            "{arguments:?}"
        );
    }
}
