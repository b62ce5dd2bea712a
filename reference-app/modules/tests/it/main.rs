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
fn list_prints_a_line_for_each_driver() {
    let listed = iotpi_module(&["list"]);

    assert!(listed.status.success());
    let table = text(&listed.stdout);
    for driver in ["bme280", "ds18b20", "led", "motion", "system", "testcard", "replay"] {
        assert!(table.lines().any(|line| line.starts_with(driver)), "{driver}:\n{table}");
    }
}

#[test]
fn an_invalid_setting_is_reported_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lamp.toml");
    std::fs::write(&file, "id = \"lamp\"\nhubb = \"http://127.0.0.1:8000\"\n").unwrap();

    let output = iotpi_module(&["run", file.to_str().unwrap()]);

    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("lamp.toml") && stderr.contains("line 2") && stderr.contains("hubb"), "{stderr}");
}

#[test]
fn the_error_for_a_missing_token_names_the_command_that_creates_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lamp.toml");
    std::fs::write(&file, "id = \"lamp\"\n[[device]]\ndriver = \"led\"\nbus = \"sim\"\npin = 17\n").unwrap();

    let output = iotpi_module(&["run", file.to_str().unwrap()]);

    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("iotpi-hub token add --role module --module lamp"));
}

#[test]
fn every_command_has_a_help_text() {
    for arguments in [&["--help"][..], &["run", "--help"], &["list", "--help"]] {
        let help = iotpi_module(arguments);

        assert!(help.status.success() && text(&help.stdout).contains("Usage: iotpi-module"), "{arguments:?}");
    }
}
