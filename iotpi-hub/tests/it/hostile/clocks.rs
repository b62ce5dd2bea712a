//! Credentials of a hub whose clock is wrong.

use std::time::Duration;

use http::Method;
use iotpi_core::Timestamp;
use iotpi_hub::{Config, maintenance::Machine, testing::TestHub};
use serde_json::json;

use crate::support::api::{Api, NOW, jpeg};

const DAY: Duration = Duration::from_secs(86_400);
const TEN_YEARS: Duration = Duration::from_secs(3650 * 86_400);
const PASSWORD: &str = "correct horse battery";

/// The folder of a database, on which a hub is started several times with different clocks.
struct DataFolder(tempfile::TempDir);

impl DataFolder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn start(&self, now: Timestamp) -> Api {
        let url = format!("sqlite://{}", self.0.path().join("hub.db").display());
        Api::of(TestHub::on_machine(Config::default(), &url, Machine::default(), now).await.unwrap()).await
    }
}

/// The credentials of a user: a session cookie, a JWT, and a signed URL that is valid for a minute.
struct Credentials {
    cookie: String,
    jwt: String,
    url: String,
}

impl Credentials {
    async fn new(api: &Api) -> Self {
        api.call(Method::POST, "/api/camera/frame?module_id=porch").jpeg(jpeg(8, 8, 1)).ok().await;
        let login = match api.hub.hub().first_admin_code().await.unwrap() {
            Some(code) => {
                let body = json!({"code": code, "name": "anna", "password": PASSWORD});
                api.open(Method::POST, "/api/auth/first-admin").json(body).send().await
            }
            None => {
                let body = json!({"name": "anna", "password": PASSWORD});
                api.open(Method::POST, "/api/auth/login").json(body).send().await
            }
        };
        let cookie = login.header("set-cookie").split(';').next().unwrap().to_owned();
        let as_anna = |path: &str| api.open(Method::POST, path).header("cookie", &cookie);
        let jwt = as_anna("/api/auth/jwt").ok().await;
        let body = json!({"path": "/api/camera/snapshot?module_id=porch", "expires_in": 60});
        let url = as_anna("/api/auth/url").json(body).ok().await;
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        Self { cookie: cookie.clone(), jwt: text(&jwt["access_token"]), url: text(&url["url"]) }
    }

    /// Whether the session, the JWT and the URL are valid.
    async fn validity(&self, api: &Api) -> [bool; 3] {
        // After a restart there is no frame: a valid URL then gets 404.
        let is_valid = |status: u16| status != 401;
        [
            is_valid(
                api.open(Method::GET, "/api/modules").header("cookie", &self.cookie).send().await.status,
            ),
            is_valid(api.open(Method::GET, "/api/modules").token(&self.jwt).send().await.status),
            is_valid(api.open(Method::GET, &self.url).send().await.status),
        ]
    }
}

#[tokio::test]
async fn credentials_issued_while_the_clock_was_ten_years_ahead_have_the_usual_life() {
    let data = DataFolder::new();
    let api = data.start(NOW.plus(TEN_YEARS)).await;
    let credentials = Credentials::new(&api).await;
    assert_eq!(credentials.validity(&api).await, [true; 3]);
    api.stop().await;

    let api = data.start(NOW).await;
    // The JWT was issued in the future.
    assert!(!credentials.validity(&api).await[1]);
    api.hub.advance(Duration::from_secs(61));
    assert_eq!(credentials.validity(&api).await, [true, false, false]);
    api.hub.advance(30 * DAY);
    assert_eq!(credentials.validity(&api).await, [false; 3]);
    // New credentials have the usual life.
    let credentials = Credentials::new(&api).await;
    assert_eq!(credentials.validity(&api).await, [true; 3]);
    api.hub.advance(Duration::from_secs(61));
    assert_eq!(credentials.validity(&api).await, [true, true, false]);
    api.hub.advance(Duration::from_secs(900));
    assert_eq!(credentials.validity(&api).await, [true, false, false]);
    api.hub.advance(30 * DAY);
    assert_eq!(credentials.validity(&api).await, [false; 3]);
    api.stop().await;
}

#[tokio::test]
async fn setting_the_clock_while_the_hub_runs_extends_no_credential() {
    let api = Api::with_manual_clock().await;
    let before = Credentials::new(&api).await;

    api.hub.step_to(NOW.plus(TEN_YEARS));
    let ahead = Credentials::new(&api).await;
    assert_eq!(ahead.validity(&api).await, [true; 3]);
    api.hub.step_to(NOW.plus(Duration::from_secs(5)));

    assert!(!ahead.validity(&api).await[1], "the JWT was issued in the future");
    api.hub.advance(Duration::from_secs(61));
    for credentials in [&before, &ahead] {
        let [session, _, url] = credentials.validity(&api).await;
        assert_eq!([session, url], [true, false]);
    }
    api.hub.advance(30 * DAY);
    for credentials in [&before, &ahead] {
        assert_eq!(credentials.validity(&api).await, [false; 3]);
    }
    api.stop().await;
}

#[tokio::test]
async fn an_expired_credential_stays_invalid_after_a_boot_with_an_old_clock() {
    let data = DataFolder::new();
    let api = data.start(NOW).await;
    let credentials = Credentials::new(&api).await;
    api.hub.advance(30 * DAY + Duration::from_secs(1));
    assert_eq!(credentials.validity(&api).await, [false; 3]);
    api.stop().await;

    // The clock shows the time of the first start.
    let api = data.start(NOW).await;

    assert_eq!(credentials.validity(&api).await, [false; 3]);
    api.stop().await;
}

#[tokio::test]
async fn a_session_with_a_lifetime_beyond_the_limit_is_shortened_at_start() {
    let data = DataFolder::new();
    let api = data.start(NOW).await;
    let credentials = Credentials::new(&api).await;
    // An older hub, whose clock was ahead, opened this session.
    let user = iotpi_core::model::id::UserName::new("anna").unwrap();
    let now = iotpi_hub::store::Now { wall: NOW, steady: iotpi_hub::store::Steady(NOW) };
    let ends = iotpi_hub::store::Steady(NOW.plus(TEN_YEARS));
    let secret = "f".repeat(64);
    let hash = sha2_of(&secret);
    api.hub.store().open_session(&hash, &user, ends, now).await.unwrap();
    api.stop().await;

    let api = data.start(NOW).await;
    let old = Credentials { cookie: format!("iotpi_session={secret}"), ..credentials };
    assert!(old.validity(&api).await[0]);
    api.hub.advance(30 * DAY + Duration::from_secs(1));

    assert!(!old.validity(&api).await[0]);
    api.stop().await;
}

fn sha2_of(secret: &str) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(secret.as_bytes()).into()
}
