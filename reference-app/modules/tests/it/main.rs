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
fn check_prints_all_faults_and_opens_no_device() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lamp.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        iotpi_module(&["check", file.to_str().unwrap()])
    };

    let wrong =
        check("id = \"lamp\"\n[[device]]\ndriver = \"led\"\npin = 40\n[[device]]\ndriver = \"bme820\"\n");
    let right = check("id = \"lamp\"\n[[device]]\ndriver = \"bme280\"\ni2c = \"/dev/i2c-77\"\n");

    assert_eq!(wrong.status.code(), Some(1));
    let stderr = text(&wrong.stderr);
    assert!(
        stderr.contains("line 4: ") && stderr.contains("line 6: ") && stderr.contains("bme280"),
        "{stderr}"
    );
    assert!(right.status.success(), "{}", text(&right.stderr));
    assert!(text(&right.stdout).contains("module `lamp` with 1 device: no faults"));
}

#[test]
fn wiring_prints_a_picture_and_scan_a_settings_file() {
    let golden = |name: &str| format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));

    let wiring = iotpi_module(&["wiring", &golden("wiring.toml")]);
    let scan = iotpi_module(&["scan"]);

    assert_eq!(text(&wiring.stdout), std::fs::read_to_string(golden("wiring.svg")).unwrap());
    assert!(scan.status.success() && text(&scan.stdout).contains("id = "));
}

#[test]
fn doctor_fails_when_a_bus_is_missing_and_prints_its_remedy() {
    let machine = tempfile::tempdir().unwrap();
    let file = machine.path().join("air.toml");
    let settings = "id = \"air\"\nhub = \"http://127.0.0.1:9\"\n[[device]]\ndriver = \"bme280\"\n";
    std::fs::write(&file, settings).unwrap();

    let root = machine.path().to_str().unwrap();
    let doctor = iotpi_module(&["doctor", file.to_str().unwrap(), "--root", root]);
    let alone = iotpi_module(&["doctor", "--root", root]);

    assert_eq!((doctor.status.code(), alone.status.code()), (Some(1), Some(0)));
    let findings = text(&doctor.stdout);
    assert!(findings.contains("FAIL  i2c") && findings.contains("do_i2c 0"), "{findings}");
    assert!(findings.contains("FAIL  hub"), "{findings}");
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
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["list", "--help"],
        &["check", "--help"],
        &["doctor", "--help"],
    ] {
        let help = iotpi_module(arguments);

        assert!(help.status.success() && text(&help.stdout).contains("Usage: iotpi-module"), "{arguments:?}");
    }
}
