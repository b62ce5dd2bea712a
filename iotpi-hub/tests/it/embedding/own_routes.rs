//! Routes of the program beside those of the hub, and a hub below a path of the program.

use axum::{Router, extract::State, routing::get};
use futures_util::StreamExt as _;
use http::Method;
use iotpi_core::ModuleId;
use iotpi_hub::{Config, HttpConfig, Hub, HubError, auth::Caller};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::{client_async, tungstenite::client::IntoClientRequest as _};

use super::{Server, embedded};
use crate::support::{api::jpeg, wait::bounded, wire::Wire};

/// A route that counts the modules for callers who may read.
async fn module_count(State(hub): State<Hub>, caller: Caller) -> Result<String, HubError> {
    caller.may_read()?;
    let module: Option<_> = hub.store().module(&ModuleId::new("attic").unwrap()).await?;
    Ok(format!("modules: {}", usize::from(module.is_some())))
}

fn own_routes(hub: &Hub) -> Router {
    Router::new().route("/count", get(module_count)).with_state(hub.clone())
}

fn below_iotpi(hub: &Hub) -> Router {
    own_routes(hub).nest_service("/iotpi", hub.router())
}

#[tokio::test]
async fn routes_of_the_program_are_on_the_same_port_and_know_the_callers_of_the_hub() {
    for server in Server::ALL {
        let api = embedded(Config::default(), server, |hub| own_routes(hub).merge(hub.router())).await;
        api.post("/api/sensors/temperature", json!({"module_id": "attic", "value": 21.5})).ok().await;

        let count = api.get("/count").send().await;
        let anonymous = api.open(Method::GET, "/count").send().await;
        let modules = api.get("/api/modules").ok().await;
        let page = api.open(Method::GET, "/modules/led").header("accept", "text/html").send().await;
        let missing = api.get("/api/nothing").problem().await;

        assert_eq!((count.status, &count.body[..]), (200, &b"modules: 1"[..]), "{server:?}");
        assert_eq!((anonymous.status, anonymous.json()["kind"].as_str()), (401, Some("unauthenticated")));
        assert_eq!(anonymous.header("www-authenticate"), "Bearer realm=\"iotpi\"");
        assert_eq!(modules["items"][0]["id"], "attic");
        assert_eq!((page.status, missing.0), (if cfg!(feature = "dashboard") { 200 } else { 404 }, 404));
        api.stop().await;
    }
}

#[tokio::test]
async fn the_api_of_a_nested_hub_is_below_its_path() {
    for server in Server::ALL {
        let api = embedded(Config::default(), server, below_iotpi).await;
        let reading = json!({"module_id": "attic", "value": 21.5});

        api.post("/iotpi/api/sensors/temperature", reading).ok().await;
        let stored = api.get("/iotpi/api/sensors/temperature?module_id=attic").ok().await;
        let outside = api.get("/api/modules").send().await;
        let docs = api.get("/iotpi/docs").send().await;

        assert_eq!(stored["items"][0]["value"], 21.5, "{server:?}");
        assert_eq!(outside.status, 404);
        if cfg!(feature = "docs") {
            assert_eq!((docs.status, docs.header("location")), (303, "docs/"));
        }
        api.stop().await;
    }
}

#[tokio::test]
async fn the_dashboard_of_a_nested_hub_refers_to_its_path_and_so_does_its_cookie() {
    for server in Server::ALL {
        let api = embedded(Config::default(), server, below_iotpi).await;
        let code = api.hub.hub().first_admin_code().await.unwrap().unwrap();
        let admin = json!({"code": code, "name": "anna", "password": "correct horse"});

        let login = api.open(Method::POST, "/iotpi/api/auth/first-admin").json(admin).send().await;
        let proxied = api.open(Method::POST, "/iotpi/api/auth/login").header("x-forwarded-prefix", "/house");
        let proxied = proxied.json(json!({"name": "anna", "password": "correct horse"})).send().await;

        assert!(login.header("set-cookie").contains("; Path=/iotpi;"), "{server:?} {login:?}");
        assert!(proxied.header("set-cookie").contains("; Path=/house/iotpi;"), "{server:?} {proxied:?}");
        for path in ["/iotpi", "/iotpi/", "/iotpi/modules/led"] {
            let page = api.open(Method::GET, path).header("accept", "text/html").send().await;
            let html = String::from_utf8_lossy(&page.body);
            if cfg!(feature = "dashboard") {
                assert_eq!(page.status, 200, "{server:?} {path}");
                let script = html.split('"').find(|text| text.contains("/entry/start.")).expect("a script");
                assert!(script.starts_with("/iotpi/_app/"), "{server:?} {path} {script}");
                assert_eq!(api.open(Method::GET, script).send().await.status, 200);
            }
        }
        api.stop().await;
    }
}

#[tokio::test]
async fn a_prefix_from_the_client_that_is_not_plain_never_reaches_the_page() {
    let nested = |hub: &Hub| Router::new().nest_service("/{house}", hub.router());
    let api = embedded(Config::default(), Server::Axum, nested).await;

    let plain = api.open(Method::GET, "/cottage/").header("accept", "text/html").send().await;
    let forged = api.open(Method::GET, "/'onload=x;/").header("accept", "text/html").send().await;

    if cfg!(feature = "dashboard") {
        assert!(String::from_utf8_lossy(&plain.body).contains("\"/cottage/_app/"));
        assert_eq!(forged.status, 200);
    }
    assert!(!String::from_utf8_lossy(&forged.body).contains("onload=x"));
    api.stop().await;
}

#[tokio::test]
async fn live_clients_of_a_nested_hub_receive_its_events() {
    for server in Server::ALL {
        let api = embedded(Config::default(), server, below_iotpi).await;
        let address = api.hub.address();
        let mut request = format!("ws://{address}/iotpi/api/live").into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", api.admin).parse().unwrap());

        let stream = TcpStream::connect(address).await.unwrap();
        let (mut socket, _) = client_async(request, stream).await.unwrap();
        let hello = bounded("the first message", socket.next()).await.unwrap().unwrap();

        assert!(hello.to_text().unwrap().contains("hello"), "{server:?} {hello}");
        api.stop().await;
    }
}

#[tokio::test]
async fn viewers_of_a_nested_hub_receive_frames_until_their_token_is_revoked() {
    for server in Server::ALL {
        let api = embedded(Config::default(), server, below_iotpi).await;
        let frame = jpeg(64, 48, 20_000);
        let viewer = api.post("/iotpi/api/auth/tokens", json!({"name": "wall", "role": "viewer"})).ok().await;
        let publish = |frame: &[u8]| {
            let path = "/iotpi/api/camera/frame?module_id=porch";
            api.call(Method::POST, path).jpeg(frame.to_vec()).send()
        };
        assert_eq!(publish(&frame).await.status, 200, "{server:?}");

        let mut wire = Wire::to(&api.hub).await;
        let token = viewer["token"].as_str().unwrap();
        wire.head("GET /iotpi/api/camera/stream?module_id=porch", token, &[]).await;
        assert_eq!(wire.answer_head().await.status(), 200);
        wire.read_bytes(frame.len()).await;
        let id = viewer["id"].as_str().unwrap();
        api.delete(&format!("/iotpi/api/auth/tokens/{id}")).ok().await;

        wire.wait_for_last_chunk_or_close().await;
        api.stop().await;
    }
}

#[tokio::test]
async fn a_nested_hub_knows_the_clients_behind_a_trusted_proxy() {
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let http = HttpConfig { trusted_proxies, ..HttpConfig::default() };
    let api = embedded(Config { http, ..Config::default() }, Server::Axum, below_iotpi).await;
    let login = async |client: &str| {
        let call = api.open(Method::POST, "/iotpi/api/auth/login").header("x-forwarded-for", client);
        call.json(json!({"name": "eve", "password": "a wrong one"})).send().await.status
    };

    for _ in 0..10 {
        assert_eq!(login("203.0.113.5").await, 401);
    }

    assert_eq!((login("203.0.113.5").await, login("203.0.113.6").await), (429, 401));
    api.stop().await;
}
