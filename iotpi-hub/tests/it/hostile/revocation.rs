//! Connections and responses end with the session, token, JWT or signed URL that they were opened with.

use std::time::Duration;

use futures_util::StreamExt as _;
use http::Method;
use http_body_util::BodyExt as _;
use iotpi_core::model::id::UserName;
use iotpi_hub::{
    Config,
    auth::{self, Role, user},
    maintenance,
    testing::TestHub,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _, protocol::frame::coding::CloseCode},
};

use crate::support::{
    api::{Answer, Api, NOW, NOW_SECS, jpeg},
    wait::{bounded, until},
    wire::Wire,
};

const PASSWORD: &str = "correct horse battery";

impl Api {
    /// Issues a token; returns its id and its secret.
    async fn issue(&self, token: Value) -> (String, String) {
        let issued = self.post("/api/auth/tokens", token).ok().await;
        (issued["id"].as_str().unwrap().to_owned(), issued["token"].as_str().unwrap().to_owned())
    }

    async fn revoke(&self, id: &str) {
        self.delete(&format!("/api/auth/tokens/{id}")).ok().await;
    }

    async fn jwt(&self, token: &str) -> String {
        let jwt = self.open(Method::POST, "/api/auth/jwt").token(token).ok().await;
        jwt["access_token"].as_str().unwrap().to_owned()
    }

    async fn log_in(&self) -> String {
        let body = json!({"name": "anna", "password": PASSWORD});
        cookie(&self.open(Method::POST, "/api/auth/login").json(body).send().await)
    }

    async fn first_admin(&self) -> String {
        let code = self.hub.hub().first_admin_code().await.unwrap().unwrap();
        let body = json!({"code": code, "name": "anna", "password": PASSWORD});
        cookie(&self.open(Method::POST, "/api/auth/first-admin").json(body).send().await)
    }

    async fn status_as(&self, token: &str) -> u16 {
        self.open(Method::GET, "/api/modules").token(token).send().await.status
    }

    async fn live(&self, path: &str, field: (&'static str, &str)) -> WebSocketStream<TcpStream> {
        let mut request = format!("ws://{}{path}", self.hub.address()).into_client_request().unwrap();
        request.headers_mut().insert(field.0, field.1.parse().unwrap());
        let stream = TcpStream::connect(self.hub.address()).await.unwrap();
        client_async(request, stream).await.unwrap().0
    }
}

fn cookie(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// The code with which the hub closes the connection.
async fn close_code(live: &mut WebSocketStream<TcpStream>) -> CloseCode {
    bounded("the hub closes the live connection", async {
        loop {
            if let Message::Close(frame) = live.next().await.unwrap().unwrap() {
                return frame.unwrap().code;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_long_lived_response_ends_with_its_token() {
    let api = Api::start().await;
    api.lamp().await;
    for part in 0..200 {
        let readings: Vec<_> = (0..500)
            .map(|i| json!({"module_id": "a", "value": i, "timestamp": NOW_SECS + f64::from(part * 500 + i)}))
            .collect();
        api.post("/api/sensors/temperature", json!(readings)).ok().await;
    }
    api.call(Method::POST, "/api/camera/frame?module_id=porch").jpeg(jpeg(8, 8, 1)).ok().await;
    let (id, token) = api.issue(json!({"name": "display", "role": "viewer"})).await;
    let open = async |path: &str| api.open(Method::GET, path).token(&token).open().await.into_body();
    let mut live = api.live("/api/live", ("authorization", &bearer(&token))).await;
    let stream = open("/api/camera/stream?module_id=porch").await;
    let csv = open("/api/sensors/temperature?format=csv").await;
    let lines = open("/api/sensors/temperature?format=ndjson").await;
    let mut fresh = Wire::to(&api.hub).await;
    fresh.head("GET /api/camera/snapshot?fresh=1&module_id=porch", &token, &[]).await;

    api.revoke(&id).await;

    assert_eq!(close_code(&mut live).await, CloseCode::Policy);
    assert_eq!(fresh.answer_head().await.status(), 401);
    bounded("the end of the stream", stream.collect()).await.expect("a complete stream");
    for export in [csv, lines] {
        let body = bounded("the end of the export", export.collect()).await;
        assert!(body.is_err(), "a client could mistake the part for the whole export");
    }
    // Other callers are not affected.
    assert_eq!(api.get("/api/sensors/temperature?format=csv").send().await.status, 200);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_client_does_not_read_ends_with_its_token() {
    const FRAME_BYTES: usize = 8_000_000;
    let api = Api::start().await;
    api.call(Method::POST, "/api/camera/frame?module_id=porch").jpeg(jpeg(64, 48, FRAME_BYTES)).ok().await;
    let open = async |token: &str| {
        let mut viewer = Wire::to(&api.hub).await;
        viewer.head("GET /api/camera/stream?module_id=porch", token, &[]).await;
        assert_eq!(viewer.answer_head().await.status(), 200);
        viewer
    };
    // Neither client reads. The time limit for this would close the connection of the first one first.
    let mut valid = open(&api.admin).await;
    let (id, token) = api.issue(json!({"name": "display", "role": "viewer"})).await;
    let mut revoked = open(&token).await;

    api.revoke(&id).await;

    let stalled = async |count: u32| {
        api.metrics().await.contains(&format!("iotpi_connections_stalled_total {count}\n"))
    };
    until("the hub closes a stalled connection", async || !stalled(0).await).await;
    // On a very slow machine the other client has reached the time limit too.
    if stalled(1).await {
        valid.read_bytes(FRAME_BYTES).await;
    }
    revoked.wait_for_close().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_of_a_revoked_token_gets_no_command() {
    let api = Api::start().await;
    api.lamp().await;
    let (id, token) = api.issue(json!({"name": "lamp", "role": "module", "module_id": "led"})).await;
    let mut poll = Wire::to(&api.hub).await;
    poll.head("GET /api/modules/led/commands?wait=60", &token, &[]).await;
    until("the hub received the long poll", async || {
        api.get("/api/modules/led").ok().await["health"] == "online"
    })
    .await;

    api.revoke(&id).await;
    let command = api.post("/api/modules/led/control", json!({"action": "set"})).ok().await;

    assert_eq!(poll.answer_head().await.status(), 401);
    let path = format!("/api/commands/{}", command["id"].as_str().unwrap());
    assert_eq!(api.get(&path).ok().await["state"], "queued");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connections_of_a_removed_module_end() {
    let api = Api::start().await;
    let token = api.lamp().await;
    let jwt = api.jwt(&token).await;
    let mut polls = Vec::new();
    for token in [&token, &jwt] {
        let mut poll = Wire::to(&api.hub).await;
        poll.head("GET /api/modules/led/commands?wait=60", token, &[]).await;
        polls.push(poll);
    }

    api.delete("/api/modules/led").ok().await;

    for mut poll in polls {
        assert_eq!(poll.answer_head().await.status(), 401);
    }
    assert_eq!(api.open(Method::GET, "/api/modules/led/commands").token(&jwt).send().await.status, 401);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_ends_with_its_session_or_token_and_with_a_changed_role() {
    let api = Api::start().await;
    let session = api.first_admin().await;
    let name = UserName::new("anna").unwrap();
    let store = api.hub.store();
    user::add(
        store.as_ref(),
        user::NewUser {
            name: UserName::new("bert").unwrap(),
            role: Role::Admin,
            password: PASSWORD.to_owned(),
        },
        NOW,
    )
    .await
    .unwrap();
    let of_session = async |session: &str| {
        let jwt = api.open(Method::POST, "/api/auth/jwt").header("cookie", session).ok().await;
        jwt["access_token"].as_str().unwrap().to_owned()
    };
    let (id, token) = api.issue(json!({"name": "script", "role": "viewer"})).await;
    let (by_token, by_session) = (api.jwt(&token).await, of_session(&session).await);
    let mut lives = Vec::new();
    for jwt in [&by_token, &by_session] {
        assert_eq!(api.status_as(jwt).await, 200);
        lives.push(api.live("/api/live", ("authorization", &bearer(jwt))).await);
    }

    api.revoke(&id).await;
    api.open(Method::POST, "/api/auth/logout").header("cookie", &session).ok().await;

    for (jwt, live) in [by_token, by_session].iter().zip(&mut lives) {
        assert_eq!(api.status_as(jwt).await, 401);
        assert_eq!(close_code(live).await, CloseCode::Policy);
    }
    // Another program changes the role in the database: the hub checks every few seconds.
    let session = api.log_in().await;
    let jwt = of_session(&session).await;
    let mut live = api.live("/api/live", ("authorization", &bearer(&jwt))).await;
    user::set_role(store.as_ref(), &name, Role::Viewer).await.unwrap();
    assert_eq!(close_code(&mut live).await, CloseCode::Policy);
    until("the JWT is refused", async || api.status_as(&jwt).await == 401).await;
    // Another program removes the user.
    let jwt = of_session(&session).await;
    let mut live = api.live("/api/live", ("cookie", &session)).await;
    user::remove(store.as_ref(), &name).await.unwrap();
    assert_eq!(close_code(&mut live).await, CloseCode::Policy);
    until("the JWT is refused", async || api.status_as(&jwt).await == 401).await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_opened_with_a_jwt_or_signed_url_end_when_it_expires() {
    let api = Api::with_manual_clock().await;
    let jwt = api.jwt(&api.admin).await;
    let signed = api.post("/api/auth/url", json!({"path": "/api/live", "expires_in": 60})).ok().await;
    let mut by_url = api.live(signed["url"].as_str().unwrap(), ("x-none", "")).await;
    let mut by_jwt = api.live("/api/live", ("authorization", &bearer(&jwt))).await;

    api.hub.advance(Duration::from_secs(61));
    assert_eq!(close_code(&mut by_url).await, CloseCode::Policy);
    assert_eq!(api.status_as(&jwt).await, 200);
    api.hub.advance(Duration::from_secs(840));

    assert_eq!(close_code(&mut by_jwt).await, CloseCode::Policy);
    assert_eq!(api.status_as(&jwt).await, 401);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_the_signing_key_ends_jwts_and_signed_urls_only() {
    let api = Api::start().await;
    let jwt = api.jwt(&api.admin).await;
    let signed = api.post("/api/auth/url", json!({"path": "/api/live"})).ok().await;
    let mut by_url = api.live(signed["url"].as_str().unwrap(), ("x-none", "")).await;
    let mut by_token = api.live("/api/live", ("authorization", &bearer(&api.admin))).await;

    auth::rotate_key(api.hub.store().as_ref()).await.unwrap();

    assert_eq!(close_code(&mut by_url).await, CloseCode::Policy);
    until("the JWT is refused", async || api.status_as(&jwt).await == 401).await;
    let fresh = api.jwt(&api.admin).await;
    assert_eq!(api.status_as(&fresh).await, 200);
    by_token.close(None).await.unwrap();
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restoring_a_backup_makes_no_revoked_credential_valid() {
    let folder = tempfile::tempdir().unwrap();
    let (database, backup) = (folder.path().join("hub.db"), folder.path().join("backup.db"));
    let url = format!("sqlite://{}", database.display());
    let start = async || Api::of(TestHub::with_store(Config::default(), &url).await.unwrap()).await;
    let api = start().await;
    let session = api.first_admin().await;
    let (id, revoked) = api.issue(json!({"name": "stolen", "role": "admin"})).await;
    let (_, valid) = api.issue(json!({"name": "valid", "role": "viewer"})).await;
    let removed = api.lamp().await;
    let jwt = api.jwt(&valid).await;
    api.hub.store().backup(&backup).await.unwrap();
    api.revoke(&id).await;
    api.delete("/api/modules/led").ok().await;
    api.open(Method::POST, "/api/auth/logout").header("cookie", &session).ok().await;
    api.stop().await;

    maintenance::restore(&database, &backup, true, NOW).await.unwrap();
    let api = start().await;

    assert_eq!([api.status_as(&revoked).await, api.status_as(&valid).await], [401, 200]);
    assert_eq!(api.open(Method::GET, "/api/modules/led").token(&removed).send().await.status, 401);
    assert_eq!(api.open(Method::GET, "/api/modules").header("cookie", &session).send().await.status, 401);
    assert_eq!(api.status_as(&jwt).await, 401);
    // Only the first start after the restore revokes credentials.
    let (session, jwt) = (api.log_in().await, api.jwt(&valid).await);
    api.stop().await;
    let api = start().await;
    assert_eq!(api.open(Method::GET, "/api/modules").header("cookie", &session).send().await.status, 200);
    assert_eq!(api.status_as(&jwt).await, 200);
    api.stop().await;
}
