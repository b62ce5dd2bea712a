//! Logins, names and cookies.

use http::Method;
use iotpi_core::model::id::UserName;
use iotpi_hub::auth::{Role, token, user};
use serde_json::json;

use crate::support::api::{Api, NOW};

const PASSWORD: &str = "correct horse battery";

async fn add(api: &Api, name: &str) -> iotpi_hub::Result<()> {
    let name = UserName::new(name).unwrap();
    let new = user::NewUser { name, role: Role::Viewer, password: PASSWORD.to_owned() };
    user::add(api.hub.store().as_ref(), new, NOW).await
}

#[tokio::test]
async fn a_token_and_a_user_cannot_have_the_same_name() {
    let api = Api::start().await;
    add(&api, "anna").await.unwrap();
    api.post("/api/auth/tokens", json!({"name": "script", "role": "viewer"})).ok().await;

    let token = api.post("/api/auth/tokens", json!({"name": "anna", "role": "viewer"})).problem().await;
    let user = add(&api, "script").await.unwrap_err();
    let issued = token::issue(
        api.hub.store().as_ref(),
        token::NewToken { name: UserName::new("anna").unwrap(), role: Role::Viewer, module_id: None },
        NOW,
    );

    assert_eq!((token.0, token.1.as_str()), (409, "conflict"));
    assert_eq!(user.kind(), iotpi_core::model::error::ErrorKind::Conflict);
    assert_eq!(issued.await.unwrap_err().kind(), iotpi_core::model::error::ErrorKind::Conflict);
    api.stop().await;
}

#[tokio::test]
async fn the_session_cookie_is_secure_if_the_origin_is_https() {
    let api = Api::start().await;
    add(&api, "anna").await.unwrap();
    let host = api.hub.address();
    let login = |fields: &[(&'static str, String)]| {
        let body = json!({"name": "anna", "password": PASSWORD});
        let call = api.open(Method::POST, "/api/auth/login").json(body);
        fields.iter().fold(call, |call, (name, value)| call.header(name, value)).send()
    };

    let secure = login(&[("origin", format!("https://{host}"))]).await;
    let plain = login(&[("origin", format!("http://{host}"))]).await;
    // No proxy is trusted.
    let claimed = login(&[("x-forwarded-proto", "https".to_owned())]).await;

    let cookie = secure.header("set-cookie").to_owned();
    assert!(cookie.starts_with("__Host-iotpi_session=") && cookie.contains("; Secure"), "{cookie}");
    for answer in [plain, claimed] {
        let cookie = answer.header("set-cookie");
        assert!(cookie.starts_with("iotpi_session=") && !cookie.contains("Secure"), "{cookie}");
    }
    let session = cookie.split(';').next().unwrap();
    assert_eq!(api.open(Method::GET, "/api/modules").header("cookie", session).send().await.status, 200);
    let logout = api.open(Method::POST, "/api/auth/logout").header("cookie", session);
    let logout = logout.header("origin", &format!("https://{host}")).send().await;
    let removed: Vec<_> = logout.headers.get_all("set-cookie").iter().map(|v| v.to_str().unwrap()).collect();
    assert!(removed.iter().any(|cookie| cookie.starts_with("__Host-iotpi_session=;")), "{removed:?}");
    assert_eq!(api.open(Method::GET, "/api/modules").header("cookie", session).send().await.status, 401);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn abandoned_logins_do_not_hash_concurrently() {
    let api = Api::start().await;
    add(&api, "anna").await.unwrap();
    let login = |name: &str| {
        let body = json!({"name": name, "password": "wrong password"});
        api.open(Method::POST, "/api/auth/login").json(body).send()
    };
    assert_eq!(login("anna").await.status, 401);
    let before = super::resident_bytes();

    let mut peak = 0;
    for i in 0..30 {
        let name = format!("unknown-{i}");
        // The client closes the connection before the response.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(5), login(&name)).await;
        peak = peak.max(super::resident_bytes());
    }

    assert_eq!(login("anna").await.status, 401);
    let grown = peak.saturating_sub(before);
    assert!(grown < 128 * 1024 * 1024, "{grown} bytes; each hash takes 19 MiB");
    api.stop().await;
}
