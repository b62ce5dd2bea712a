//! The command line: the OpenAPI document, the example configuration, tokens, errors and help texts.

use std::{fs, net::TcpListener, path::Path};

use crate::support::program::{iotpi_hub, text};

#[test]
fn the_checked_in_openapi_document_is_the_one_the_program_prints() {
    let folder = tempfile::tempdir().unwrap();
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi.json");

    let printed = iotpi_hub(folder.path(), &["openapi"]);

    let is_same = text(&printed.stdout) == fs::read_to_string(checked_in).unwrap_or_default();
    assert!(is_same, "openapi.json differs from the hub: `make bless` rewrites it");
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
fn a_new_token_is_printed_alone_and_can_be_listed_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| iotpi_hub(folder.path(), arguments);

    let added = run(&["token", "add", "--role", "module", "--module", "lamp"]);
    let same_name = run(&["token", "add", "--role", "viewer", "lamp"]);
    let replaced = run(&["token", "add", "--role", "module", "--module", "lamp", "--replace"]);
    let listed = text(&run(&["token", "list"]).stdout);
    let revoked = run(&["token", "revoke", "lamp"]);
    let again = run(&["token", "revoke", "lamp"]);

    let token = text(&added.stdout);
    assert!(token.starts_with("iotpi_") && token.ends_with('\n') && token.lines().count() == 1, "{token}");
    assert_eq!(same_name.status.code(), Some(1));
    assert!(replaced.status.success() && replaced.stdout != added.stdout);
    assert_eq!(listed.lines().filter(|line| line.contains("lamp")).count(), 1, "{listed}");
    assert!(!listed.contains(token.trim()), "the secret is in the list");
    assert!(revoked.status.success());
    assert_eq!(again.status.code(), Some(1));
}

#[test]
fn the_signing_key_is_replaced_only_if_a_database_exists() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| iotpi_hub(folder.path(), arguments);

    let no_database = run(&["key", "rotate"]);
    run(&["token", "add", "--role", "viewer", "screen"]);
    let replaced = run(&["key", "rotate"]);

    assert_eq!(no_database.status.code(), Some(1), "{no_database:?}");
    assert!(replaced.status.success(), "{replaced:?}");
}

#[test]
fn a_token_with_contradictory_arguments_is_refused() {
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
fn a_port_in_use_is_reported_in_one_line_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();

    let output = iotpi_hub(folder.path(), &["serve", "--listen", &address]);

    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("is taken") && stderr.contains("--listen"), "{stderr}");
}

#[test]
fn every_command_has_a_help_text() {
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
        let help = iotpi_hub(folder.path(), arguments);

        assert!(help.status.success() && text(&help.stdout).contains("Usage: iotpi-hub"), "{arguments:?}");
    }
}
