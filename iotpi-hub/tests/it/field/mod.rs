//! The field corpus: every case of `tests/field/cases.toml` against a hub of its own, over a socket.

mod case;
mod wire;

use std::{collections::BTreeSet, path::PathBuf, time::Instant};

use iotpi_core::SystemClock;
use iotpi_hub::{Config, auth::Role, testing::TestHub};
use serde_json::Value;

use self::{
    case::{Case, Placeholders, Table, Transfer},
    wire::{ANSWER_TIMEOUT, Answer, Request},
};

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
        if let Err(why) = run(&case).await {
            failures.push(format!("{} ({}): {why}", case.id, case.source));
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
fn every_input_belongs_to_a_case_and_case_ids_are_unique() {
    let cases = table();
    let ids: BTreeSet<_> = cases.iter().map(|case| &case.id).collect();
    let used: BTreeSet<_> = cases.iter().filter_map(|case| case.file.clone()).collect();

    let inputs = std::fs::read_dir(folder().join("inputs")).unwrap();
    let there: BTreeSet<_> = inputs.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();

    assert_eq!(ids.len(), cases.len(), "an id is there twice");
    assert_eq!(there.difference(&used).collect::<Vec<_>>(), Vec::<&String>::new(), "inputs of no case");
}

/// Runs a case on a hub of its own; an error says which expectation was not met.
async fn run(case: &Case) -> Result<(), String> {
    if let Some(fault) = case.fault() {
        return Err(fault.to_owned());
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
    let met = check(case, &texts).await;
    hub.stop().await.map_err(|error| format!("the hub did not stop: {error}"))?;
    met
}

async fn check(case: &Case, texts: &Placeholders) -> Result<(), String> {
    for step in &case.before {
        let answer = prepare(step, texts).await?;
        if !(200..300).contains(&answer.status) {
            return Err(format!("`{step}` was answered {}", shown(&answer)));
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
    // Without an answer nobody knows when the request was carried out.
    let deadline = case.has(Transfer::Close).then(|| Instant::now() + ANSWER_TIMEOUT);
    loop {
        let answer = prepare(then, texts).await?;
        match points(&answer, case.expect.iter()) {
            Err(_) if deadline.is_some_and(|end| Instant::now() < end) => tokio::task::yield_now().await,
            met => return met.map_err(|why| format!("`{then}`: {why}")),
        }
    }
}

/// A request as the admin, with the JSON body that follows the path, if there is one.
async fn prepare(step: &str, texts: &Placeholders) -> Result<Answer, String> {
    let mut words = step.splitn(3, ' ');
    let send = [words.next().unwrap_or_default(), words.next().unwrap_or_default()].join(" ");
    let content = words.next().map(|body| (texts.fill(body).into_bytes(), "application/json"));
    let headers = ["Authorization: Bearer {token}".to_owned()];
    let request = Request::new(&send, &headers, content, false, texts);
    let answer = request.exchange(&texts.host, &[]).await.map_err(|error| format!("`{step}`: {error}"))?;
    answer.ok_or_else(|| format!("`{step}` was not answered"))
}

fn compare(case: &Case, answer: &Answer, texts: &Placeholders) -> Result<(), String> {
    if case.status != Some(answer.status) {
        return Err(format!("not {}, but {}", case.status.unwrap_or_default(), shown(answer)));
    }
    let text = String::from_utf8_lossy(&answer.body);
    if let Some(missing) = case.has.iter().find(|part| !text.contains(&texts.fill(part))) {
        return Err(format!("`{missing}` is not in {}", shown(answer)));
    }
    if let Some(there) = case.lacks.iter().find(|part| text.contains(&texts.fill(part))) {
        return Err(format!("`{there}` is in {}", shown(answer)));
    }
    points(answer, case.answer.iter())
}

fn points<'a>(
    answer: &Answer,
    expected: impl Iterator<Item = (&'a String, &'a Value)>,
) -> Result<(), String> {
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    for (pointer, wanted) in expected {
        let found = json.pointer(pointer);
        if !found.is_some_and(|found| is_equal(found, wanted)) {
            let found = found.map_or("nothing".to_owned(), Value::to_string);
            return Err(format!("{pointer} is {found}, not {wanted}, in {}", shown(answer)));
        }
    }
    Ok(())
}

/// `20` and `20.0` are one number.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn shown(answer: &Answer) -> String {
    let text: String = String::from_utf8_lossy(&answer.body).chars().take(600).collect();
    format!("{} {text}", answer.status)
}
