//! Every operation of the OpenAPI document with every form of credentials: more than 2,000 combinations, each
//! with its expectation. The test fails for an operation that is not in [`ALLOWED`].

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::Method;
use iotpi_core::{SystemClock, model::id::UserName};
use iotpi_hub::auth::{Role, user};
use serde_json::json;

use crate::{
    auth::required_credentials::{operations, request},
    support::api::{Api, Call},
};

/// The callers that may use an operation. v: viewer, o: operator, a: admin, m: the module in the path or
/// body, x: another module.
const ALLOWED: [(&str, &str); 43] = [
    ("list_series", "voa"),
    ("record", "oam"),
    ("record_mixed", "oam"),
    ("read", "voa"),
    // Without `module_id` a module delivers as its own camera.
    ("show", "oamx"),
    ("push", "oamx"),
    ("watch", "voa"),
    ("snapshot", "voa"),
    ("list_cameras", "voa"),
    ("read_recording", "voa"),
    ("set_recording", "oa"),
    ("record_camera", "oa"),
    ("stop_recording", "oa"),
    ("list_recordings", "voa"),
    ("list_recorded_frames", "voa"),
    ("recorded_frame", "voa"),
    ("export_recording", "voa"),
    ("record_gap", "oam"),
    ("list_gaps", "voa"),
    ("read_delivery", "voam"),
    ("list_modules", "voa"),
    ("read_module", "voam"),
    ("read_module_usage", "voam"),
    ("register", "am"),
    ("submit", "oa"),
    ("claim", "m"),
    ("list_commands", "voa"),
    ("report", "oam"),
    ("read_command", "voa"),
    ("cancel_command", "oa"),
    ("live", "voa"),
    ("time", "voamx"),
    ("jwt", "voamx"),
    ("sign_url", "voa"),
    ("list_tokens", "a"),
    ("issue_token", "a"),
    ("revoke_token", "a"),
    ("metrics", "voa"),
    ("storage", "voa"),
    ("acknowledge_quarantine", "a"),
    ("back_up", "a"),
    ("expire", "a"),
    ("remove_module", "a"),
];
const PASSWORD: &str = "correct horse battery";

/// Credentials as they are sent.
#[derive(Debug, Clone)]
enum Credentials {
    None,
    Header(String),
    Cookie(String),
    Query(String),
}

/// A caller and its credentials.
#[derive(Debug)]
struct Caller {
    /// As in [`ALLOWED`], for requests about the module `led` and about the module `other`; `-` for callers
    /// that the hub does not know.
    letters: [char; 2],
    form: &'static str,
    credentials: Credentials,
}

impl Caller {
    fn call<'a>(&self, api: &'a Api, method: &Method, path: &str) -> Call<'a> {
        match &self.credentials {
            Credentials::None => request(api, method, path),
            Credentials::Header(value) => request(api, method, path).header("authorization", value),
            Credentials::Cookie(value) => request(api, method, path).header("cookie", value),
            Credentials::Query(query) => request(api, method, &format!("{path}?{query}")),
        }
    }
}

fn bearer(token: &str) -> Credentials {
    Credentials::Header(format!("Bearer {token}"))
}

fn basic(name: &str, password: &str) -> Credentials {
    Credentials::Header(format!("Basic {}", BASE64.encode(format!("{name}:{password}"))))
}

fn cookie(session: &str) -> Credentials {
    Credentials::Cookie(format!("iotpi_session={session}"))
}

async fn jwt(call: Call<'_>) -> String {
    call.ok().await["access_token"].as_str().unwrap().to_owned()
}

/// Adds a user and logs it in; returns the secret of the session.
async fn session(api: &Api, name: &str, role: Role) -> String {
    let new = user::NewUser { name: UserName::new(name).unwrap(), role, password: PASSWORD.to_owned() };
    user::add(api.hub.store().as_ref(), new, SystemClock::shared().now()).await.unwrap();
    let login = json!({"name": name, "password": PASSWORD});
    let answer = api.open(Method::POST, "/api/auth/login").json(login).send().await;
    let (_, session) = answer.header("set-cookie").split(';').next().unwrap().split_once('=').unwrap();
    session.to_owned()
}

async fn callers(api: &Api) -> Vec<Caller> {
    let mut callers = Vec::new();
    let mut add = |letters, form, credentials| callers.push(Caller { letters, form, credentials });
    let of_token = async |token: &str| jwt(api.open(Method::POST, "/api/auth/jwt").token(token)).await;
    for role in [Role::Viewer, Role::Operator, Role::Admin] {
        let letters = [role.as_str().chars().next().unwrap(); 2];
        let token = api.token(role).await;
        let session = session(api, role.as_str(), role).await;
        let with_session =
            api.open(Method::POST, "/api/auth/jwt").header("cookie", &format!("iotpi_session={session}"));
        add(letters, "token", bearer(&token));
        add(letters, "token as password", basic("any-name", &token));
        add(letters, "token as name", basic(&token, ""));
        add(letters, "JWT of a token", bearer(&of_token(&token).await));
        add(letters, "JWT of a session", bearer(&jwt(with_session).await));
        add(letters, "session", cookie(&session));
    }
    for (module, letters) in [("led", ['m', 'x']), ("other", ['x', 'm'])] {
        let token = api.module(module).await;
        add(letters, "module token", bearer(&token));
        add(letters, "module token as password", basic(module, &token));
        add(letters, "module token as name", basic(&token, ""));
        add(letters, "JWT of a module token", bearer(&of_token(&token).await));
    }
    let issued = api.post("/api/auth/tokens", json!({"name": "lost", "role": "admin"})).ok().await;
    let revoked = issued["token"].as_str().unwrap();
    let of_revoked = of_token(revoked).await;
    api.delete(&format!("/api/auth/tokens/{}", issued["id"].as_str().unwrap())).ok().await;
    let ended = session(api, "logged-out", Role::Admin).await;
    let logout = api.open(Method::POST, "/api/auth/logout");
    logout.header("cookie", &format!("iotpi_session={ended}")).ok().await;
    let open = session(api, "logged-in", Role::Admin).await;
    for (form, credentials) in [
        ("nothing", Credentials::None),
        ("an unknown token", bearer("iotpi_nonsense")),
        ("an unknown session", cookie("nonsense")),
        ("a revoked token", bearer(revoked)),
        ("a JWT of a revoked token", bearer(&of_revoked)),
        ("a session that was logged out", cookie(&ended)),
        ("a token in the query", Credentials::Query(format!("access_token={}", api.admin))),
        ("a token as a session", cookie(&api.admin)),
        ("a session as a token", bearer(&open)),
        ("a user's password", basic("logged-in", PASSWORD)),
        ("another scheme", Credentials::Header(format!("Token {}", api.admin))),
    ] {
        add(['-', '-'], form, credentials);
    }
    callers
}

/// The operations on the module `led`; those with a module in the path on the module `other` too. The removal
/// of a module is the last one, and only for `led`, because the tokens of a removed module are revoked.
fn targets() -> Vec<(Method, String, String, usize)> {
    let mut targets = Vec::new();
    for (method, path, id, is_open) in operations() {
        if is_open {
            continue;
        }
        if path.contains("/led") && id != "remove_module" {
            targets.push((method.clone(), path.replace("/led", "/other"), id.clone(), 1));
        }
        targets.push((method, path, id, 0));
    }
    targets.sort_by_key(|(_, _, id, _)| id == "remove_module");
    targets
}

#[tokio::test]
async fn each_caller_has_exactly_the_permissions_of_the_reference() {
    let api = Api::start().await;
    api.lamp().await;
    api.register("other", json!({"actions": [{"name": "set"}]})).await;
    let callers = callers(&api).await;
    let allowed = BTreeMap::from(ALLOWED);
    let (mut cells, mut wrong) = (0, Vec::new());

    for (method, path, id, target) in targets() {
        let allowed = allowed.get(id.as_str()).unwrap_or_else(|| panic!("{id} has no expectation"));
        // In reverse order: the callers with a token of `led` come before the admins, who remove that module.
        for caller in callers.iter().rev() {
            let letter = caller.letters[target];
            // A JWT cannot be exchanged for a JWT or a signed URL, which would be valid for longer.
            let makes_credentials = matches!(id.as_str(), "jwt" | "sign_url");
            let is_allowed =
                allowed.contains(letter) && !(makes_credentials && caller.form.starts_with("JWT"));
            // Only the head of the response is read: some streams are endless.
            let status = caller.call(&api, &method, &path).open().await.status().as_u16();

            let expected = match (letter, is_allowed) {
                // A JWT is refused here before it is verified.
                ('-', _) => status == 401 || makes_credentials && status == 403,
                (_, true) => !matches!(status, 401 | 403),
                // A caller that may not read a resource may get 404 instead.
                (_, false) => matches!(status, 403 | 404),
            };
            cells += 1;
            if !expected {
                wrong.push(format!("{method} {path} by {letter} with {}: {status}", caller.form));
            }
        }
    }

    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(cells >= 2000, "{cells}");
    api.stop().await;
}

#[tokio::test]
async fn anonymous_ingest_permits_only_deliveries() {
    let api = Api::with_config(crate::support::api::anonymous()).await;
    api.lamp().await;
    let mut permitted = Vec::new();

    for (method, path, id, is_open) in operations() {
        let status = request(&api, &method, &path).open().await.status().as_u16();
        if !is_open && !matches!(status, 401 | 403) {
            permitted.push(id);
        }
    }

    // SECURITY.md has the same list.
    permitted.sort();
    assert_eq!(permitted, ["push", "record", "record_gap", "record_mixed", "report", "show", "time"]);
    api.stop().await;
}
