//! The hub behind a proxy: client addresses and base paths.

use http::Method;
use iotpi_hub::{AuthConfig, Config, HttpConfig};
use serde_json::json;

use crate::support::api::{Answer, Api};

const PASSWORD: &str = "correct horse";

fn config(trusted_proxies: &[&str], anonymous_ingest: &[&str], base_path: &str) -> Config {
    let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let http = HttpConfig {
        trusted_proxies: networks(trusted_proxies),
        base_path: base_path.to_owned(),
        ..HttpConfig::default()
    };
    let auth = AuthConfig { anonymous_ingest: networks(anonymous_ingest), ..AuthConfig::default() };
    Config { http, auth, ..Config::default() }
}

async fn with_anna(config: Config) -> Api {
    let api = Api::with_config(config).await;
    let code = api.hub.hub().first_admin_code().await.unwrap().unwrap();
    let body = json!({"code": code, "name": "anna", "password": PASSWORD});
    api.open(Method::POST, "/api/auth/first-admin").json(body).ok().await;
    api
}

/// Logs in with the headers of a proxy.
async fn log_in(api: &Api, name: &str, password: &str, forwarded_for: &str) -> u16 {
    let login = api.open(Method::POST, "/api/auth/login").header("x-forwarded-for", forwarded_for);
    login.json(json!({"name": name, "password": password})).send().await.status
}

async fn deliver(api: &Api, forwarded_for: Option<&str>) -> Answer {
    let mut call = api.open(Method::POST, "/api/sensors/temperature");
    if let Some(forwarded_for) = forwarded_for {
        call = call.header("x-forwarded-for", forwarded_for);
    }
    call.json(json!({"module_id": "shed", "value": 1})).send().await
}

#[tokio::test]
async fn ten_failed_logins_through_a_trusted_proxy_lock_out_their_client_only() {
    let api = with_anna(config(&["127.0.0.0/8"], &[], "")).await;

    for _ in 0..10 {
        assert_eq!(log_in(&api, "anna", "a wrong one", "203.0.113.5").await, 401);
    }

    assert_eq!(log_in(&api, "anna", PASSWORD, "203.0.113.5").await, 429);
    // Values from the client itself are left of the value that the proxy adds.
    assert_eq!(log_in(&api, "anna", PASSWORD, "203.0.113.6, 203.0.113.5").await, 429);
    assert_eq!(log_in(&api, "anna", PASSWORD, "203.0.113.6").await, 200);
    api.stop().await;
}

#[tokio::test]
async fn forwarding_headers_of_an_untrusted_peer_do_not_affect_the_login_limit() {
    let api = with_anna(config(&["192.0.2.0/24"], &[], "")).await;

    for n in 0..10 {
        assert_eq!(log_in(&api, "anna", "a wrong one", &format!("203.0.113.{n}")).await, 401);
    }

    assert_eq!(log_in(&api, "anna", PASSWORD, "203.0.113.99").await, 429);
    api.stop().await;
}

#[tokio::test]
async fn failed_logins_of_one_name_through_an_unlisted_proxy_do_not_affect_other_names() {
    let api = with_anna(config(&[], &[], "")).await;

    for _ in 0..11 {
        log_in(&api, "eve", "a wrong one", "203.0.113.5").await;
    }

    assert_eq!(log_in(&api, "eve", "a wrong one", "203.0.113.5").await, 429);
    assert_eq!(log_in(&api, "anna", PASSWORD, "203.0.113.6").await, 200);
    api.stop().await;
}

#[tokio::test]
async fn the_anonymous_network_is_that_of_the_client_behind_a_trusted_proxy() {
    let api = Api::with_config(config(&["127.0.0.0/8"], &["192.168.1.0/24"], "")).await;

    assert_eq!(deliver(&api, Some("192.168.1.7")).await.status, 200);
    assert_eq!(deliver(&api, Some("203.0.113.5, 192.168.1.7")).await.status, 200);
    for elsewhere in [Some("203.0.113.5"), Some("192.168.1.7, 203.0.113.5"), Some("unknown"), Some(""), None]
    {
        assert_eq!(deliver(&api, elsewhere).await.status, 401, "{elsewhere:?}");
    }
    api.stop().await;
}

#[tokio::test]
async fn anonymous_delivery_through_an_unlisted_proxy_is_rejected() {
    let api = Api::with_config(config(&[], &["127.0.0.0/8", "192.168.1.0/24"], "")).await;

    let direct = deliver(&api, None).await;
    let forwarded = deliver(&api, Some("192.168.1.7")).await;
    let other_header = api.open(Method::POST, "/api/sensors/temperature").header("x-real-ip", "127.0.0.1");
    let other_header = other_header.json(json!({"module_id": "shed", "value": 1})).send().await;
    let frame =
        api.open(Method::POST, "/api/camera/frame?module_id=shed").header("x-forwarded-for", "192.168.1.7");
    let frame = frame.jpeg(crate::support::api::jpeg(8, 8, 0)).send().await;

    assert_eq!(direct.status, 200);
    assert_eq!((forwarded.status, other_header.status, frame.status), (401, 401, 401));
    assert!(forwarded.problem()["detail"].as_str().unwrap().contains("http.trusted_proxies"));
    api.stop().await;
}

#[tokio::test]
async fn all_paths_work_below_a_base_path_that_the_proxy_keeps() {
    let api = with_anna(config(&[], &[], "/iotpi")).await;

    let page = api.open(Method::GET, "/iotpi/cameras").header("accept", "text/html").send().await;
    let modules = api.get("/iotpi/api/modules").send().await;
    let direct = api.get("/api/modules").send().await;
    let login =
        api.open(Method::POST, "/iotpi/api/auth/login").json(json!({"name": "anna", "password": PASSWORD}));
    let login = login.send().await;
    let others = api.open(Method::GET, "/iotpixel/api/modules").send().await;

    assert_eq!((page.status, modules.status, direct.status, login.status), (200, 200, 200, 200));
    assert!(!String::from_utf8_lossy(&page.body).contains("%base%"));
    assert!(login.header("set-cookie").contains("; Path=/iotpi;"), "{login:?}");
    assert_eq!(others.status, 404);
    api.stop().await;
}

#[tokio::test]
async fn a_prefix_that_a_proxy_removed_is_the_path_of_the_cookie() {
    let api = with_anna(config(&[], &[], "")).await;
    let path = |prefix: &'static str| {
        let login = api.open(Method::POST, "/api/auth/login").header("x-forwarded-prefix", prefix);
        let login = login.json(json!({"name": "anna", "password": PASSWORD})).send();
        async { login.await.header("set-cookie").split("; ").nth(1).unwrap().to_owned() }
    };

    assert_eq!(path("/iotpi").await, "Path=/iotpi");
    assert_eq!(path("/a/b/").await, "Path=/a/b");
    for wrong in ["/", "//evil.example", "/a; Domain=evil.example", "iotpi", "/.."] {
        assert_eq!(path(wrong).await, "Path=/", "{wrong}");
    }
    api.stop().await;
}

#[tokio::test]
async fn the_api_description_and_its_page_work_below_any_path() {
    let api = Api::start().await;

    let openapi = api.open(Method::GET, "/api/openapi.json").ok().await;
    let docs = api.open(Method::GET, "/docs").send().await;
    let script = api.open(Method::GET, "/docs/swagger-initializer.js").send().await;

    // Relative to the document's own URL (OpenAPI 3.1, 4.8.5).
    assert_eq!(openapi["servers"][0]["url"], "../");
    if cfg!(feature = "docs") {
        assert_eq!((docs.status, docs.header("location")), (303, "docs/"));
        assert!(String::from_utf8_lossy(&script.body).contains("../api/openapi.json"));
    }
    api.stop().await;
}

#[tokio::test]
async fn a_changed_host_is_rejected_with_the_proxy_setting_to_fix() {
    let api = Api::start().await;

    let login = api.open(Method::POST, "/api/auth/login").header("host", "127.0.0.1");
    let login = login.header("origin", "http://127.0.0.1:8080").json(json!({"name": "a", "password": "b"}));
    let problem = login.send().await.problem();

    let detail = problem["detail"].as_str().unwrap();
    for part in ["Origin `http://127.0.0.1:8080`", "Host `127.0.0.1`", "proxy_set_header Host $http_host"] {
        assert!(detail.contains(part), "{detail}");
    }
    api.stop().await;
}

#[tokio::test]
async fn files_below_an_unknown_base_path_are_not_found_with_the_setting_to_change() {
    let api = Api::start().await;

    let missing = api.open(Method::GET, "/iotpi/_app/immutable/start.js").send().await;

    assert_eq!(missing.status, 404);
    if cfg!(feature = "dashboard") {
        assert!(missing.problem()["detail"].as_str().unwrap().contains("http.base_path = \"/iotpi\""));
    }
    api.stop().await;
}

#[tokio::test]
async fn an_invalid_base_path_is_rejected() {
    for wrong in ["iotpi", "/", "/iotpi/", "//a", "/a/../b", "/a b", "/%61", "http://hub/iotpi"] {
        let refused = config(&[], &[], wrong).check();

        assert!(refused.unwrap_err().to_string().contains("http.base_path"), "{wrong}");
    }
    config(&[], &[], "/a/b-c").check().unwrap();
}
