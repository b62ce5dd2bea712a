//! Credentials: HTTP Basic with a token, and signed URLs.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::Method;
use iotpi_hub::auth::Role;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;

use crate::support::api::{Api, NOW_SECS, jpeg};

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{name}:{password}")))
}

impl Api {
    async fn sign(&self, path: &str) -> Value {
        self.post("/api/auth/url", json!({"path": path})).ok().await
    }

    /// The status of a GET without headers.
    async fn status_of(&self, url: &str) -> u16 {
        self.open(Method::GET, url).open().await.status().as_u16()
    }
}

#[tokio::test]
async fn the_token_as_a_basic_password_is_accepted_on_every_route() {
    let api = Api::start().await;
    let module = api.module("porch").await;

    for authorization in [
        basic("iotpi", &api.admin),
        basic("", &api.admin),
        basic(&api.admin, ""),
        basic("a", &api.admin).replace("Basic", "basic"),
    ] {
        let call =
            |method: Method, path: &str| api.open(method, path).header("authorization", &authorization);
        call(Method::POST, "/api/camera/frame?module_id=porch").jpeg(jpeg(8, 8, 10)).ok().await;
        let reading = json!({"module_id": "a", "value": 1, "unit": "celsius"});
        call(Method::POST, "/api/sensors/temperature").json(reading).ok().await;
        for path in
            ["/api/camera/snapshot", "/api/camera/stream", "/api/sensors", "/api/auth/tokens", "/metrics"]
        {
            assert_eq!(call(Method::GET, path).open().await.status(), 200, "{path}");
        }
        assert_eq!(call(Method::GET, "/api/auth/session").ok().await["caller"]["role"], "admin");
        call(Method::POST, "/api/auth/jwt").ok().await;
    }
    let as_module = api.open(Method::POST, "/api/camera/frame").header("authorization", &basic("x", &module));
    as_module.jpeg(jpeg(8, 8, 10)).ok().await;
    for wrong in [
        basic("admin", "iotpi_0"),
        basic("", ""),
        "Basic".to_owned(),
        "Basic !".to_owned(),
        "Digest a=b".to_owned(),
    ] {
        let answer = api.open(Method::GET, "/api/sensors").header("authorization", &wrong).send().await;
        assert_eq!(
            (answer.status, answer.problem()["kind"].clone()),
            (401, json!("unauthenticated")),
            "{wrong}"
        );
    }
    api.stop().await;
}

#[tokio::test]
async fn basic_is_offered_to_programs_and_not_to_pages_in_a_browser() {
    let api = Api::start().await;
    let asked = async |agent: &str, accept: &str| {
        let call = api.open(Method::GET, "/api/sensors").header("user-agent", agent).header("accept", accept);
        let answer = call.send().await;
        let ways =
            answer.headers.get_all("www-authenticate").iter().map(|way| way.to_str().unwrap().to_owned());
        ways.collect::<Vec<_>>().join(", ").contains("Basic")
    };

    assert!(asked("Lavf/60.16.100", "*/*").await);
    assert!(asked("curl/8.5.0", "*/*").await);
    assert!(asked("Mozilla/5.0 (X11; Linux) Firefox/140", "text/html,*/*").await);
    assert!(!asked("Mozilla/5.0 (X11; Linux) Firefox/140", "application/json").await);
    api.stop().await;
}

#[tokio::test]
async fn ffmpeg_and_curl_open_an_address_with_the_token_in_it() {
    let api = Api::start().await;
    let frame = include_bytes!("../../pictures/whole.jpg");
    api.call(Method::POST, "/api/camera/frame?module_id=porch").jpeg(frame.to_vec()).ok().await;
    let host = api.hub.address();
    let run = async |program: &str, arguments: &[&str]| {
        let output = tokio::process::Command::new(program).args(arguments).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };

    let with_token = format!("http://iotpi:{}@{host}/api/camera/snapshot?module_id=porch", api.admin);
    let stream = with_token.replace("snapshot", "stream");
    let signed = api.sign("/api/camera/stream?module_id=porch").await;
    let signed = format!("http://{host}{}", signed["url"].as_str().unwrap());

    assert_eq!(run("curl", &["--silent", "--show-error", "--fail", &with_token]).await, frame);
    for url in [&stream, &signed] {
        let frames = run(
            "ffmpeg",
            &[
                "-nostdin",
                "-loglevel",
                "error",
                "-f",
                "mpjpeg",
                "-i",
                url,
                "-frames:v",
                "1",
                "-f",
                "framemd5",
                "-",
            ],
        )
        .await;
        assert!(String::from_utf8(frames).unwrap().lines().any(|line| !line.starts_with('#')), "{url}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a_signed_url_opens_exactly_its_target_until_it_expires() {
    let api = Api::with_manual_clock().await;
    for camera in ["porch", "attic"] {
        api.call(Method::POST, &format!("/api/camera/frame?module_id={camera}"))
            .jpeg(jpeg(8, 8, 10))
            .ok()
            .await;
    }

    let signed = api
        .post("/api/auth/url", json!({"path": "/api/camera/snapshot?module_id=porch", "expires_in": 60}))
        .ok()
        .await;
    let url = signed["url"].as_str().unwrap();

    assert_eq!(signed["expires_at"], NOW_SECS + 60.0);
    assert!(
        !url.contains(&api.admin) && url.starts_with("/api/camera/snapshot?module_id=porch&sig="),
        "{url}"
    );
    assert_eq!(api.status_of(url).await, 200);
    let other_order = url
        .split_once("?module_id=porch&")
        .map(|(path, sig)| format!("{path}?{sig}&module_id=porch"))
        .unwrap();
    assert_eq!(api.status_of(&other_order).await, 200);
    for changed in [
        url.replace("porch", "attic"),
        url.replace("snapshot", "stream"),
        format!("{url}&fresh=1"),
        format!("{url}0"),
        url.replace("&sig=t.", "&sig=s."),
        url.replace("/api/camera/snapshot?module_id=porch", "/api/sensors?"),
        format!("{url}&{}", url.split_once('&').unwrap().1),
    ] {
        assert_eq!(api.status_of(&changed).await, 401, "{changed}");
    }
    assert_eq!(api.open(Method::POST, url).send().await.status, 405);
    api.hub.advance(Duration::from_secs(59));
    assert_eq!(api.status_of(url).await, 200);
    api.hub.advance(Duration::from_secs(1));
    assert_eq!(api.status_of(url).await, 401);
    api.stop().await;
}

#[tokio::test]
async fn a_signed_url_ends_with_the_token_or_session_that_issued_it() {
    let api = Api::start().await;
    api.call(Method::POST, "/api/camera/frame").jpeg(jpeg(8, 8, 10)).ok().await;
    let made = api.post("/api/auth/tokens", json!({"name": "wall", "role": "viewer"})).ok().await;
    fn sign(call: crate::support::api::Call<'_>) -> crate::support::api::Call<'_> {
        call.json(json!({"path": "/api/camera/snapshot"}))
    }
    let by_token =
        sign(api.open(Method::POST, "/api/auth/url").token(made["token"].as_str().unwrap())).ok().await;
    let code = api.hub.hub().first_admin_code().await.unwrap().unwrap();
    let admin = json!({"code": code, "name": "anna", "password": "correct horse"});
    let login = api.open(Method::POST, "/api/auth/first-admin").json(admin).send().await;
    let cookie = login.header("set-cookie").split(';').next().unwrap().to_owned();
    let by_session = sign(api.open(Method::POST, "/api/auth/url").header("cookie", &cookie)).ok().await;
    let urls = [by_token["url"].as_str().unwrap(), by_session["url"].as_str().unwrap()];
    for url in urls {
        assert_eq!(api.status_of(url).await, 200);
    }

    api.delete(&format!("/api/auth/tokens/{}", made["id"].as_str().unwrap())).ok().await;
    api.open(Method::POST, "/api/auth/logout").header("cookie", &cookie).ok().await;

    for url in urls {
        assert_eq!(api.status_of(url).await, 401);
    }
    api.stop().await;
}

#[tokio::test]
async fn only_readers_can_sign_and_only_frames_and_the_live_connection_can_be_signed() {
    let api = Api::start().await;
    let module = api.module("porch").await;
    let viewer = api.token(Role::Viewer).await;
    let jwt = api.call(Method::POST, "/api/auth/jwt").ok().await;
    let sign = |token: &str, body: Value| api.open(Method::POST, "/api/auth/url").token(token).json(body);
    let stream = json!({"path": "/api/camera/stream"});

    assert_eq!(sign(&viewer, stream.clone()).send().await.status, 200);
    assert_eq!(sign(&viewer, json!({"path": "/api/live", "expires_in": 86_400})).send().await.status, 200);
    assert_eq!(sign(&module, stream.clone()).problem().await.0, 403);
    assert_eq!(sign(jwt["access_token"].as_str().unwrap(), stream.clone()).problem().await.0, 403);
    assert_eq!(api.open(Method::POST, "/api/auth/url").json(stream).problem().await.0, 401);
    for path in [
        "/api/sensors",
        "/api/camera/frame",
        "/api/camera/stream/",
        "http://hub/api/camera/stream",
        "//api/live",
        "",
        "/api/camera/stream?sig=a",
        "/api/camera/stream?a b",
        "/api/camera/stream?a#b",
        "/api/camera/stream?\r\nx",
    ] {
        assert_eq!(sign(&viewer, json!({"path": path})).problem().await.0, 400, "{path}");
    }
    for expires_in in [0, 86_401] {
        let body = json!({"path": "/api/live", "expires_in": expires_in});
        assert_eq!(
            sign(&viewer, body).problem().await,
            (400, "invalid_argument".to_owned(), "/expires_in".to_owned())
        );
    }
    api.stop().await;
}

#[tokio::test]
async fn the_live_connection_opens_with_a_signed_url() {
    let api = Api::start().await;
    let signed = api.sign("/api/live").await;

    let stream = TcpStream::connect(api.hub.address()).await.unwrap();
    let url = format!("ws://{}{}", api.hub.address(), signed["url"].as_str().unwrap());

    let (_, answer) = client_async(url, stream).await.unwrap();
    assert_eq!(answer.status(), 101);
    api.stop().await;
}

#[tokio::test]
async fn a_token_in_the_query_is_rejected_with_a_hint_to_signed_urls() {
    let api = Api::start().await;

    for field in ["token", "access_token", "api_key", "TOKEN"] {
        for path in ["/api/camera/stream", "/api/camera/snapshot", "/api/live", "/api/sensors"] {
            let answer = api.open(Method::GET, &format!("{path}?{field}={}", api.admin)).send().await;

            let problem = answer.problem();
            assert_eq!(answer.status, 401, "{path}");
            assert!(problem["detail"].as_str().unwrap().contains("POST /api/auth/url"), "{problem}");
        }
    }
    api.stop().await;
}
