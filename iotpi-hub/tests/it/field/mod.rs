//! The field corpus: every case of `tests/field/cases.toml` is sent to a separate hub over a socket.

mod case;
mod wire;

use std::{cell::RefCell, collections::BTreeSet, path::PathBuf};

use iotpi_core::SystemClock;
use iotpi_hub::{Config, auth::Role, testing::TestHub};
use serde_json::Value;
use tokio::time::timeout;

use self::{
    case::{Case, Placeholders, Table, Transfer},
    wire::{Answer, Request},
};
use crate::support::wait::{LIMIT, poll};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/field")
}

fn table() -> Vec<Case> {
    let path = folder().join("cases.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    toml::from_str::<Table>(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())).cases
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_case_gets_the_expected_response() {
    let mut failures = Vec::new();

    for case in table() {
        if let Err(reason) = run(&case).await {
            failures.push(format!("{} ({}): {reason}", case.id, case.source));
        }
    }

    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_with_wrong_expectations_fails() {
    let reading = Case {
        id: "one".to_owned(),
        source: "own".to_owned(),
        send: "POST /api/sensors/temperature".to_owned(),
        body: Some(r#"{"module_id":"shed","value":21.5,"unit":"celsius","timestamp":{now}}"#.to_owned()),
        status: Some(200),
        has: vec!["stored".to_owned()],
        answer: [("/stored".to_owned(), Value::from(1))].into(),
        then: Some("GET /api/sensors?module_id=shed".to_owned()),
        expect: [("/items/0/value".to_owned(), Value::from(21.5))].into(),
        ..Case::default()
    };

    let wrong = [
        Case { status: Some(422), ..reading.clone() },
        Case { has: vec!["refused".to_owned()], ..reading.clone() },
        Case { lacks: vec!["stored".to_owned()], ..reading.clone() },
        Case { answer: [("/stored".to_owned(), Value::from(2))].into(), ..reading.clone() },
        Case { expect: [("/items/0/value".to_owned(), Value::from(21.4))].into(), ..reading.clone() },
        Case { expect: [("/items/0/reason".to_owned(), Value::from("none"))].into(), ..reading.clone() },
        Case { before: vec!["POST /api/sensors/temperature {}".to_owned()], ..reading.clone() },
        Case { status: None, ..reading.clone() },
    ];

    assert_eq!(run(&reading).await, Ok(()));
    for case in wrong {
        assert!(run(&case).await.is_err(), "{case:?}");
    }
}

#[test]
fn every_input_file_belongs_to_a_case_and_case_ids_are_unique() {
    let cases = table();
    let ids: BTreeSet<_> = cases.iter().map(|case| &case.id).collect();
    let used: BTreeSet<_> = cases.iter().filter_map(|case| case.file.clone()).collect();

    let inputs = std::fs::read_dir(folder().join("inputs")).unwrap();
    let files: BTreeSet<_> = inputs.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();

    assert_eq!(ids.len(), cases.len(), "two cases have the same id");
    assert_eq!(files.difference(&used).collect::<Vec<_>>(), Vec::<&String>::new(), "files without a case");
}

/// Runs a case on a separate hub; the error names the expectation that was not met.
async fn run(case: &Case) -> Result<(), String> {
    if let Some(reason) = case.invalid_reason() {
        return Err(reason.to_owned());
    }
    let config =
        format!("store = \"sqlite::memory:\"\nauth.anonymous_ingest = [\"127.0.0.0/8\"]\n{}", case.config);
    let config: Config = toml::from_str(&config).map_err(|error| format!("`config`: {error}"))?;
    let hub = TestHub::opened(config).await.map_err(|error| format!("the hub did not start: {error}"))?;
    let texts = Placeholders {
        now: SystemClock::shared().now().as_micros() / 1_000_000,
        token: hub.token(Role::Admin).await.unwrap(),
        host: hub.address().to_string(),
    };
    let result = check(case, &texts).await;
    hub.stop().await.map_err(|error| format!("the hub did not stop: {error}"))?;
    result
}

async fn check(case: &Case, texts: &Placeholders) -> Result<(), String> {
    for step in &case.before {
        let answer = send_as_admin(step, texts).await?;
        if !(200..300).contains(&answer.status) {
            return Err(format!("`{step}` was answered {}", describe(&answer)));
        }
    }
    let content = case.body(&folder().join("inputs"), texts);
    let request = Request::of(case, content, texts);
    match request.exchange(&texts.host, &case.transfer).await {
        Ok(Some(answer)) => compare(case, &answer, texts)?,
        Ok(None) => {}
        Err(error) => return Err(error.to_string()),
    }
    let Some(then) = &case.then else { return Ok(()) };
    let result = RefCell::new(Ok(()));
    let is_met = async || {
        let answer = send_as_admin(then, texts).await;
        let checked = answer.and_then(|answer| check_json(&answer, case.expect.iter()));
        *result.borrow_mut() = checked.map_err(|reason| format!("`{then}`: {reason}"));
        result.borrow().is_ok()
    };
    // Without a response the test does not know when the request was processed.
    if !is_met().await && case.has(Transfer::Close) {
        let _ = timeout(LIMIT, poll(is_met)).await;
    }
    result.into_inner()
}

/// Sends a request as the admin: method, path, and an optional JSON body.
async fn send_as_admin(step: &str, texts: &Placeholders) -> Result<Answer, String> {
    let mut words = step.splitn(3, ' ');
    let send = [words.next().unwrap_or_default(), words.next().unwrap_or_default()].join(" ");
    let content = words.next().map(|body| (texts.fill(body).into_bytes(), "application/json"));
    let headers = ["Authorization: Bearer {token}".to_owned()];
    let request = Request::new(&send, &headers, content, false, texts);
    let answer = request.exchange(&texts.host, &[]).await.map_err(|error| format!("`{step}`: {error}"))?;
    answer.ok_or_else(|| format!("`{step}` got no response"))
}

fn compare(case: &Case, answer: &Answer, texts: &Placeholders) -> Result<(), String> {
    if case.status != Some(answer.status) {
        return Err(format!("not {}, but {}", case.status.unwrap_or_default(), describe(answer)));
    }
    let text = String::from_utf8_lossy(&answer.body);
    if let Some(missing) = case.has.iter().find(|part| !text.contains(&texts.fill(part))) {
        return Err(format!("`{missing}` is not in {}", describe(answer)));
    }
    if let Some(found) = case.lacks.iter().find(|part| text.contains(&texts.fill(part))) {
        return Err(format!("`{found}` is in {}", describe(answer)));
    }
    check_json(answer, case.answer.iter())
}

fn check_json<'a>(
    answer: &Answer,
    expected: impl Iterator<Item = (&'a String, &'a Value)>,
) -> Result<(), String> {
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    for (pointer, value) in expected {
        let found = json.pointer(pointer);
        if !found.is_some_and(|found| is_equal(found, value)) {
            let found = found.map_or("nothing".to_owned(), Value::to_string);
            return Err(format!("{pointer} is {found}, not {value}, in {}", describe(answer)));
        }
    }
    Ok(())
}

/// Compares JSON values; `20` and `20.0` are equal.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn describe(answer: &Answer) -> String {
    let text: String = String::from_utf8_lossy(&answer.body).chars().take(600).collect();
    format!("{} {text}", answer.status)
}
