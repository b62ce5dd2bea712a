//! Users on the command line: added, given a new password, removed, with and without a running hub.

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
};

use rustix::termios::LocalModes;

use crate::support::{
    blocking_hub::BlockingHub,
    program::{PROGRAM, iotpi_hub, text},
};

/// Runs `iotpi-hub user ...` with this text as its standard input.
fn user(data: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(PROGRAM)
        .arg("user")
        .args(arguments)
        .env("IOTPI_DATA", data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails before it reads has closed the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn add(data: &Path, name: &str, role: &str, password: &str) -> Output {
    user(data, &["add", "--role", role, "--password-stdin", name], password)
}

/// Logs in; returns the header line with the session, or the status of the refusal.
fn log_in(hub: &BlockingHub, name: &str, password: &str) -> Result<String, u16> {
    let body = format!(r#"{{"name":"{name}","password":"{password}"}}"#);
    match hub.exchange("POST", "/api/auth/login", "", &body) {
        (200, head, _) => {
            let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
            Ok(format!("cookie: {}\r\n", cookie.split(';').next().unwrap()))
        }
        (status, ..) => Err(status),
    }
}

/// The status of a read, and of the list of tokens, with this session.
fn reads_and_administers(hub: &BlockingHub, session: &str) -> (u16, u16) {
    let read = hub.exchange("GET", "/api/modules", session, "").0;
    let token = hub.exchange("GET", "/api/auth/tokens", session, "").0;
    (read, token)
}

#[test]
fn a_forgotten_password_is_replaced_while_the_hub_runs_and_ends_the_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    assert!(add(data, "anna", "admin", "forgotten-one\n").status.success());
    let hub = BlockingHub::start(data, "");
    let before = log_in(&hub, "anna", "forgotten-one").unwrap();
    assert_eq!(reads_and_administers(&hub, &before), (200, 200));

    let replaced = user(data, &["passwd", "--password-stdin", "anna"], "remembered-one\r\n");

    assert!(replaced.status.success(), "{replaced:?}");
    assert_eq!(reads_and_administers(&hub, &before), (401, 401));
    assert_eq!(log_in(&hub, "anna", "forgotten-one"), Err(401));
    let after = log_in(&hub, "anna", "remembered-one").unwrap();
    assert_eq!(reads_and_administers(&hub, &after), (200, 200));
    hub.stop();
}

#[test]
fn a_user_can_log_in_get_another_role_and_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let hub = BlockingHub::start(data, "");
    assert!(add(data, "anna", "admin", "annas-password").status.success());
    assert!(add(data, "bert", "viewer", "berts-password").status.success());

    let session = log_in(&hub, "bert", "berts-password").unwrap();
    let as_viewer = reads_and_administers(&hub, &session);
    let promoted = user(data, &["role", "bert", "admin"], "");
    let as_admin = reads_and_administers(&hub, &session);
    let listed = text(&user(data, &["list"], "").stdout);
    let removed = user(data, &["remove", "bert"], "");

    assert_eq!((as_viewer, as_admin), ((200, 403), (200, 200)));
    assert!(promoted.status.success() && removed.status.success());
    let line = |name: &str| listed.lines().find(|line| line.starts_with(name)).unwrap();
    let words = |name: &str| line(name).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!((words("anna")[1].as_str(), words("anna")[3].as_str()), ("admin", "0"), "{listed}");
    assert_eq!((words("bert")[1].as_str(), words("bert")[3].as_str()), ("admin", "1"), "{listed}");
    assert!(!listed.contains("argon2"), "{listed}");
    assert_eq!(reads_and_administers(&hub, &session), (401, 401));
    assert_eq!(log_in(&hub, "bert", "berts-password"), Err(401));
    assert!(log_in(&hub, "anna", "annas-password").is_ok());
    hub.stop();
}

#[test]
fn a_user_added_on_the_command_line_ends_the_validity_of_the_first_admin_code() {
    let folder = tempfile::tempdir().unwrap();
    let hub = BlockingHub::start(folder.path(), "");
    assert!(hub.call("GET", "/api/auth/session", None, "").1.contains(r#""needs_first_admin":true"#));

    assert!(add(folder.path(), "anna", "admin", "annas-password").status.success());

    assert!(hub.call("GET", "/api/auth/session", None, "").1.contains(r#""needs_first_admin":false"#));
    let body = r#"{"code":"AAAA-AAAA-AAAA","name":"eve","password":"eves-password"}"#;
    assert_eq!(hub.call("POST", "/api/auth/first-admin", None, body).0, 409);
    hub.stop();
}

#[test]
fn the_last_admin_cannot_be_removed_or_demoted() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    add(data, "anna", "admin", "annas-password");
    add(data, "bert", "operator", "berts-password");

    for refused in [&["remove", "anna"][..], &["role", "anna", "viewer"]] {
        let refused = user(data, refused, "");

        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains("only admin"), "{refused:?}");
    }
    assert!(user(data, &["role", "bert", "admin"], "").status.success());
    assert!(user(data, &["remove", "anna"], "").status.success());
    assert_eq!(user(data, &["remove", "bert"], "").status.code(), Some(1));
}

#[test]
fn a_user_command_with_invalid_arguments_is_refused_with_an_explanation() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let no_database = user(data, &["passwd", "--password-stdin", "anna"], "annas-password");
    let was_created = std::fs::exists(data.join("hub.db")).unwrap();
    add(data, "anna", "admin", "annas-password");

    let cases = [
        (no_database, "no database"),
        (add(data, "anna", "viewer", "annas-password"), "already"),
        (add(data, "bert", "viewer", "short"), "8 to 256 characters"),
        (add(data, "bert", "module", "berts-password"), "invalid value 'module'"),
        (add(data, "Bert", "viewer", "berts-password"), "Bert"),
        (user(data, &["add", "--role", "viewer", "bert"], "berts-password"), "--password-stdin"),
        (user(data, &["add", "--role", "viewer", "bert", "berts-password"], ""), "unexpected argument"),
        (user(data, &["passwd", "--password-stdin", "bert"], "berts-password"), "no user `bert`"),
        (user(data, &["remove", "bert"], ""), "no user `bert`"),
        (user(data, &["role", "bert", "admin"], ""), "no user `bert`"),
    ];

    assert!(!was_created, "a database was created in a mistyped folder");
    for (refused, text_part) in cases {
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
        assert!(text(&refused.stderr).contains(text_part), "{text_part}: {refused:?}");
    }
    assert_eq!(text(&iotpi_hub(data, &["user", "list"]).stdout).lines().count(), 2);
}

/// Whether the terminal that this `script` gave its command echoes input.
fn echoes(script: u32) -> bool {
    let children = std::fs::read_to_string(format!("/proc/{script}/task/{script}/children")).unwrap();
    let command = children.split_whitespace().next().unwrap();
    let terminal = std::fs::File::open(format!("/proc/{command}/fd/0")).unwrap();
    rustix::termios::tcgetattr(&terminal).unwrap().local_modes.contains(LocalModes::ECHO)
}

/// `script` (bsdutils, on every Debian) gives the command a terminal of its own.
#[test]
fn a_password_prompt_on_a_terminal_asks_twice_and_does_not_echo() {
    let folder = tempfile::tempdir().unwrap();
    add(folder.path(), "anna", "admin", "forgotten-one");
    let at_terminal = |answers: [&str; 2]| {
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command"])
            .arg(format!("{} user passwd anna", PROGRAM))
            .arg("/dev/null")
            .env("IOTPI_DATA", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut screen = Vec::new();
        for (prompt, answer) in ["New password: ", "The same again: "].into_iter().zip(answers) {
            while !String::from_utf8_lossy(&screen).contains(prompt) {
                let mut byte = [0];
                assert_eq!(output.read(&mut byte).unwrap(), 1, "{}", text(&screen));
                screen.push(byte[0]);
            }
            // The prompt appears a moment before the terminal stops echoing.
            while echoes(child.id()) {
                std::thread::yield_now();
            }
            input.write_all(format!("{answer}\n").as_bytes()).unwrap();
        }
        output.read_to_end(&mut screen).unwrap();
        drop(input);
        (child.wait().unwrap().code(), text(&screen))
    };

    let different = at_terminal(["remembered-one", "remembered-two"]);
    let same = at_terminal(["remembered-one", "remembered-one"]);

    assert_eq!(different.0, Some(1));
    assert!(different.1.contains("differ"), "{}", different.1);
    assert_eq!(same.0, Some(0), "{}", same.1);
    assert!(!same.1.contains("remembered"), "{}", same.1);
    let hub = BlockingHub::start(folder.path(), "");
    assert!(log_in(&hub, "anna", "remembered-one").is_ok());
    hub.stop();
}
