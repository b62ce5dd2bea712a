//! Users, sessions and tokens.

use std::time::Duration;

use http::Method;
use iotpi_hub::auth::Role;
use serde_json::{Value, json};

use crate::support::api::{Answer, Api, anonymous};

const PASSWORD: &str = "correct horse battery";

fn session(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer.header("set-cookie");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && cookie.contains("Path=/"),
        "{cookie}"
    );
    cookie.split(';').next().unwrap().to_owned()
}

async fn first_admin(api: &Api) -> String {
    let code = api.hub.hub().first_admin_code().await.unwrap().unwrap();
    let body = json!({"code": code, "name": "anna", "password": PASSWORD});
    session(&api.open(Method::POST, "/api/auth/first-admin").json(body).send().await)
}

#[tokio::test]
async fn the_first_admin_is_created_with_the_code_once_and_is_logged_in() {
    let api = Api::start().await;
    let make = |code: &str, password: &str| {
        let body = json!({"code": code, "name": "anna", "password": password});
        api.open(Method::POST, "/api/auth/first-admin").json(body)
    };
    let who =
        async |cookie: &str| api.open(Method::GET, "/api/auth/session").header("cookie", cookie).ok().await;
    let before = who("none=1").await;
    let code = api.hub.hub().first_admin_code().await.unwrap().unwrap();

    let wrong = make("0000-0000-0000", PASSWORD).problem().await;
    let short = make(&code, "seven77").problem().await;
    let cookie = session(&make(&code, PASSWORD).send().await);
    let again = make(&code, PASSWORD).problem().await;

    assert_eq!(before, json!({"caller": null, "needs_first_admin": true}));
    assert_eq!((wrong.0, wrong.1.as_str()), (403, "permission_denied"));
    assert_eq!((short.0, short.2.as_str()), (400, "/password"));
    assert_eq!((again.0, again.1.as_str()), (409, "conflict"));
    let after = json!({"caller": {"name": "anna", "role": "admin"}, "needs_first_admin": false});
    assert_eq!(who(&cookie).await, after);
    assert_eq!(api.hub.hub().first_admin_code().await.unwrap(), None);
    api.stop().await;
}

#[tokio::test]
async fn a_session_lasts_until_logout() {
    let api = Api::start().await;
    first_admin(&api).await;
    let login = json!({"name": "anna", "password": PASSWORD});
    let cookie = session(&api.open(Method::POST, "/api/auth/login").json(login).send().await);
    let modules = || api.open(Method::GET, "/api/modules").header("cookie", &cookie).send();

    let during = modules().await;
    let logout = api.open(Method::POST, "/api/auth/logout").header("cookie", &cookie).send().await;
    let after = modules().await;

    assert_eq!((during.status, logout.status, after.status), (200, 204, 401));
    assert!(logout.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(after.header("www-authenticate"), "Bearer realm=\"iotpi\"");
    let logged_out = api.open(Method::GET, "/api/auth/session").header("cookie", &cookie).ok().await;
    assert_eq!(logged_out["caller"], Value::Null);
    api.stop().await;
}

#[tokio::test]
async fn a_session_ends_after_its_configured_days() {
    let api = Api::with_manual_clock().await;
    let cookie = first_admin(&api).await;
    let modules =
        async || api.open(Method::GET, "/api/modules").header("cookie", &cookie).send().await.status;

    api.hub.advance(Duration::from_secs(30 * 86_400 - 1));
    let before = modules().await;
    api.hub.advance(Duration::from_secs(2));

    assert_eq!((before, modules().await), (200, 401));
    api.stop().await;
}

#[tokio::test]
async fn the_eleventh_failed_login_in_a_minute_is_refused_even_with_the_right_password() {
    let api = Api::with_manual_clock().await;
    first_admin(&api).await;
    let login = |name: &str, password: &str| {
        api.open(Method::POST, "/api/auth/login").json(json!({"name": name, "password": password}))
    };

    for _ in 0..10 {
        assert_eq!(login("unknown", "wrong password").problem().await.1, "unauthenticated");
        assert_eq!(login("anna", "wrong password").problem().await.1, "unauthenticated");
    }
    let throttled = login("anna", PASSWORD).send().await;
    api.hub.advance(Duration::from_secs(61));
    let later = login("anna", PASSWORD).send().await;

    assert_eq!((throttled.status, throttled.problem()["kind"].as_str()), (429, Some("rate_limited")));
    assert!(throttled.header("retry-after").parse::<u32>().unwrap() <= 61);
    assert_eq!(later.status, 200);
    api.stop().await;
}

#[tokio::test]
async fn the_secret_of_a_token_is_returned_once_and_a_revocation_takes_effect_at_once() {
    let api = Api::with_manual_clock().await;
    let make = |body: Value| api.post("/api/auth/tokens", body);

    let issued = make(json!({"name": "script", "role": "viewer"})).ok().await;
    let secret = issued["token"].as_str().unwrap().to_owned();
    let used = api.get("/api/modules").token(&secret).send().await;
    let taken = make(json!({"name": "script", "role": "admin"})).problem().await;
    let page = api.get("/api/auth/tokens").send().await;
    let revoked = api.delete(&format!("/api/auth/tokens/{}", issued["id"].as_str().unwrap())).send().await;
    let after = api.get("/api/modules").token(&secret).problem().await;

    assert_eq!((used.status, revoked.status), (200, 204));
    assert_eq!((taken.0, taken.1.as_str()), (409, "conflict"));
    assert!(!String::from_utf8_lossy(&page.body).contains(&secret));
    let listed =
        page.json()["items"].as_array().unwrap().iter().find(|t| t["name"] == "script").unwrap().clone();
    assert_eq!(
        (&listed["id"], &listed["role"], &listed["module_id"]),
        (&issued["id"], &json!("viewer"), &Value::Null)
    );
    assert!(!listed["last_used_at"].is_null());
    assert_eq!((after.0, after.1.as_str()), (401, "unauthenticated"));
    api.stop().await;
}

#[tokio::test]
async fn only_a_module_token_names_a_module() {
    let api = Api::start().await;
    let make = |body: Value| api.post("/api/auth/tokens", body);

    let without = make(json!({"name": "a", "role": "module"})).problem().await;
    let with = make(json!({"name": "b", "role": "viewer", "module_id": "led"})).problem().await;
    let right = make(json!({"name": "c", "role": "module", "module_id": "led"})).ok().await;

    let refused = (422, "unprocessable".to_owned(), "/module_id".to_owned());
    assert_eq!((&without, &with), (&refused, &refused));
    let who = api.get("/api/auth/session").token(right["token"].as_str().unwrap()).ok().await;
    assert_eq!(who["caller"], json!({"name": "c", "role": "module", "module_id": "led"}));
    api.stop().await;
}

#[tokio::test]
async fn a_jwt_has_the_rights_of_its_owner_for_15_minutes_and_cannot_be_exchanged_for_another() {
    let api = Api::with_manual_clock().await;
    let operator = api.token(Role::Operator).await;
    let jwt = api.call(Method::POST, "/api/auth/jwt").token(&operator).ok().await;
    let token = jwt["access_token"].as_str().unwrap().to_owned();
    let as_jwt = |method: Method, path: &str| api.open(method, path).token(&token).send();

    let during = as_jwt(Method::GET, "/api/modules").await;
    let admin_only = as_jwt(Method::GET, "/api/auth/tokens").await;
    let another = as_jwt(Method::POST, "/api/auth/jwt").await;
    api.hub.advance(Duration::from_secs(901));
    let after = as_jwt(Method::GET, "/api/modules").await;

    assert_eq!((&jwt["token_type"], &jwt["expires_in"]), (&json!("Bearer"), &json!(900)));
    assert_eq!((during.status, admin_only.status, another.status, after.status), (200, 403, 403, 401));
    assert_eq!(api.open(Method::POST, "/api/auth/jwt").problem().await.0, 401);
    api.stop().await;
}

#[tokio::test]
async fn clients_in_an_anonymous_network_can_only_deliver() {
    let api = Api::with_config(anonymous()).await;
    let anonymous = |method: Method, path: &str| api.open(method, path);
    let reading = json!({"module_id": "a", "value": 1});

    let delivered = anonymous(Method::POST, "/api/sensors/temperature").json(reading.clone()).send().await;
    let frame =
        anonymous(Method::POST, "/api/camera/frame").jpeg(crate::support::api::jpeg(8, 8, 0)).send().await;
    let status = anonymous(Method::POST, "/api/modules/a/status").json(json!({})).send().await;
    let read = anonymous(Method::GET, "/api/sensors/temperature").problem().await;
    let register = anonymous(Method::PUT, "/api/modules/a").json(json!({})).problem().await;
    let claim = anonymous(Method::GET, "/api/modules/a/commands").problem().await;
    let bad_token = anonymous(Method::POST, "/api/sensors/temperature")
        .json(reading)
        .token("iotpi_made-up")
        .problem()
        .await;

    assert_eq!((delivered.status, frame.status, status.status), (200, 200, 200));
    for refused in [read, register, claim, bad_token] {
        assert_eq!((refused.0, refused.1.as_str()), (401, "unauthenticated"));
    }
    api.stop().await;
}

#[tokio::test]
async fn anonymous_delivery_from_an_unlisted_network_is_rejected() {
    let elsewhere = iotpi_hub::AuthConfig {
        anonymous_ingest: vec!["192.0.2.0/24".parse().unwrap()],
        ..Default::default()
    };
    let api = Api::with_config(iotpi_hub::Config { auth: elsewhere, ..Default::default() }).await;

    let call = api.open(Method::POST, "/api/sensors/temperature").header("x-forwarded-for", "192.0.2.7");
    let refused = call.json(json!({"module_id": "a", "value": 1})).problem().await;

    assert_eq!((refused.0, refused.1.as_str()), (401, "unauthenticated"));
    api.stop().await;
}

#[tokio::test]
async fn an_authorization_header_without_a_token_is_unauthenticated() {
    let api = Api::start().await;

    for value in ["Basic YTpi", "Bearer", "Bearer ", "Bearer a.b.c", "Bearer iotpi_", "iotpi_x"] {
        let problem = api.open(Method::GET, "/api/modules").header("authorization", value).problem().await;

        assert_eq!((problem.0, problem.1.as_str()), (401, "unauthenticated"), "{value}");
    }
    api.stop().await;
}
