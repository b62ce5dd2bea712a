//! Tests of the program's command line. The tests of the hub itself are in `iotpi-hub` and in the demo.
#![allow(clippy::unwrap_used)]

mod attacks;
mod deploy;
mod hub_kill;
mod maintenance;
mod process;
mod recordings;
#[path = "../../../../iotpi-hub/tests/it/support/seeded_random.rs"]
mod seeded_random;
mod stalled;
mod test_hub;
mod users;
mod watchdog;

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

fn iotpi_hub(data: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_iotpi-hub"))
        .args(arguments)
        .env("IOTPI_DATA", data)
        .env_remove("IOTPI_LISTEN")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_checked_in_description_of_the_api_is_the_one_it_prints() {
    let folder = tempfile::tempdir().unwrap();
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi.json");

    let printed = iotpi_hub(folder.path(), &["openapi"]);

    let same = text(&printed.stdout) == fs::read_to_string(checked_in).unwrap_or_default();
    assert!(same, "openapi.json is not what the hub has: `make bless` writes it anew");
}

#[test]
fn the_example_config_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.toml");
    let example = iotpi_hub(folder.path(), &["config"]);
    fs::write(&file, &example.stdout).unwrap();

    let listed = iotpi_hub(folder.path(), &["token", "list", "--config", file.to_str().unwrap()]);

    assert!(listed.status.success(), "{listed:?}");
}

#[test]
fn a_token_is_printed_alone_listed_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| iotpi_hub(folder.path(), arguments);

    let made = run(&["token", "add", "--role", "module", "--module", "lamp"]);
    let same_name = run(&["token", "add", "--role", "viewer", "lamp"]);
    let replaced = run(&["token", "add", "--role", "module", "--module", "lamp", "--replace"]);
    let listed = text(&run(&["token", "list"]).stdout);
    let revoked = run(&["token", "revoke", "lamp"]);
    let again = run(&["token", "revoke", "lamp"]);

    let token = text(&made.stdout);
    assert!(token.starts_with("iotpi_") && token.ends_with('\n') && token.lines().count() == 1, "{token}");
    assert_eq!(same_name.status.code(), Some(1));
    assert!(replaced.status.success() && replaced.stdout != made.stdout);
    assert_eq!(listed.lines().filter(|line| line.contains("lamp")).count(), 1, "{listed}");
    assert!(!listed.contains(token.trim()), "a secret is never shown again");
    assert!(revoked.status.success());
    assert_eq!(again.status.code(), Some(1));
}

#[test]
fn the_key_is_replaced_where_there_is_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| iotpi_hub(folder.path(), arguments);

    let nowhere = run(&["key", "rotate"]);
    run(&["token", "add", "--role", "viewer", "screen"]);
    let replaced = run(&["key", "rotate"]);

    assert_eq!(nowhere.status.code(), Some(1), "{nowhere:?}");
    assert!(replaced.status.success(), "{replaced:?}");
}

#[test]
fn a_token_that_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();

    for wrong in [
        &["token", "add", "--role", "module", "lamp"][..],
        &["token", "add", "--role", "viewer", "--module", "lamp", "name"],
        &["token", "add", "--role", "viewer"],
        &["token", "add", "--role", "god", "name"],
        &["token", "add", "--role", "viewer", "No Name"],
    ] {
        let refused = iotpi_hub(folder.path(), wrong);

        assert!(!refused.status.success() && refused.stdout.is_empty(), "{wrong:?}: {refused:?}");
    }
}

#[test]
fn a_taken_port_is_said_in_one_line_with_its_mend() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let ran = iotpi_hub(folder.path(), &["serve", "--listen", &address]);

    let said = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("is taken") && said.contains("--listen"), "{said}");
}

#[test]
fn every_command_has_its_help() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["--help"][..],
        &["serve", "--help"],
        &["token", "--help"],
        &["token", "add", "--help"],
        &["token", "list", "--help"],
        &["token", "revoke", "--help"],
        &["key", "--help"],
        &["key", "rotate", "--help"],
        &["user", "--help"],
        &["user", "add", "--help"],
        &["user", "passwd", "--help"],
        &["user", "role", "--help"],
        &["user", "list", "--help"],
        &["user", "remove", "--help"],
        &["backup", "--help"],
        &["restore", "--help"],
        &["check", "--help"],
        &["db", "--help"],
        &["db", "shell", "--help"],
        &["openapi", "--help"],
        &["config", "--help"],
    ] {
        let helped = iotpi_hub(folder.path(), arguments);

        assert!(
            helped.status.success() && text(&helped.stdout).contains("Usage: iotpi-hub"),
            "{arguments:?}"
        );
    }
}
