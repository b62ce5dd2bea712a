//! Callers that the program authenticates itself.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use futures_util::StreamExt as _;
use http::Method;
use iotpi_hub::{
    CancellationToken, Config, Hub,
    auth::{Authenticated, Caller, Role},
};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::{client_async, tungstenite::client::IntoClientRequest as _};

use super::{Server, embedded};
use crate::support::wait::bounded;

/// The sessions of a program: their secret, user and end.
type Sessions = Arc<Mutex<HashMap<&'static str, (Caller, CancellationToken)>>>;

fn sessions() -> Sessions {
    let session =
        |name: &str, role| (Caller::known(name.parse().unwrap(), role, None), CancellationToken::new());
    let sessions = [("anna's", session("anna", Role::Operator)), ("otto's", session("otto", Role::Viewer))];
    Arc::new(Mutex::new(HashMap::from(sessions)))
}

async fn authenticate(State(sessions): State<Sessions>, mut request: Request, next: Next) -> Response {
    let secret = request.headers().get("x-session").and_then(|value| value.to_str().ok());
    let session = secret.and_then(|secret| sessions.lock().unwrap().get(secret).cloned());
    if let Some((caller, ended)) = session {
        request.extensions_mut().insert(Authenticated::new(caller).until(ended));
    }
    next.run(request).await
}

fn app(sessions: &Sessions) -> impl FnOnce(&Hub) -> Router {
    let layer = from_fn_with_state(Arc::clone(sessions), authenticate);
    move |hub| hub.router().layer(layer)
}

#[tokio::test]
async fn a_caller_of_the_program_has_the_permissions_of_its_role() {
    for server in Server::ALL {
        let api = embedded(Config::default(), server, app(&sessions())).await;
        let record = |session: &str| {
            let call = api.open(Method::POST, "/api/sensors/temperature").header("x-session", session);
            call.json(json!({"module_id": "attic", "value": 1})).send()
        };

        let (operator, viewer, unknown) =
            (record("anna's").await.status, record("otto's").await.status, record("eve's").await.status);
        let session = api.open(Method::GET, "/api/auth/session").header("x-session", "anna's").ok().await;
        let own = api.get("/api/modules").send().await;

        assert_eq!((operator, viewer, unknown), (200, 403, 401), "{server:?}");
        assert_eq!(session["caller"], json!({"name": "anna", "role": "operator"}));
        assert_eq!(own.status, 200, "credentials of the hub");
        api.stop().await;
    }
}

#[tokio::test]
async fn the_program_takes_precedence_over_the_credentials_of_a_request() {
    let api = embedded(Config::default(), Server::Axum, app(&sessions())).await;

    let tokens = api.get("/api/auth/tokens").header("x-session", "otto's").problem().await;
    let jwt = api.open(Method::POST, "/api/auth/jwt").header("x-session", "anna's").problem().await;

    assert_eq!(tokens.1, "permission_denied");
    assert_eq!(jwt.1, "unauthenticated");
    api.stop().await;
}

#[tokio::test]
async fn connections_end_with_the_session_of_the_program() {
    for server in Server::ALL {
        let sessions = sessions();
        let api = embedded(Config::default(), server, app(&sessions)).await;
        let address = api.hub.address();
        let mut request = format!("ws://{address}/api/live").into_client_request().unwrap();
        request.headers_mut().insert("x-session", "otto's".parse().unwrap());
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut socket, _) = client_async(request, stream).await.unwrap();
        bounded("the first message", socket.next()).await.unwrap().unwrap();

        let (_, ended) = sessions.lock().unwrap().remove("otto's").unwrap();
        ended.cancel();

        bounded("the end of the connection", async { while let Some(Ok(_)) = socket.next().await {} }).await;
        let refused = api.open(Method::GET, "/api/modules").header("x-session", "otto's").problem().await;
        assert_eq!(refused.0, 401, "{server:?}");
        api.stop().await;
    }
}

#[tokio::test]
async fn a_command_depends_on_the_session_of_the_program_that_requested_it() {
    let api = embedded(Config::default(), Server::Hub, app(&sessions())).await;
    let manifest = json!({"actions": [{"name": "heat", "while_alive": 3600}]});
    let module = api.register("heater", manifest).await;

    let heat = api.open(Method::POST, "/api/modules/heater/control").header("x-session", "anna's");
    let heat = heat.json(json!({"action": "heat"})).ok().await;
    let watch = api.post("/api/modules/heater/status", json!({"watch": heat["id"]})).token(&module);

    assert!(watch.ok().await["alive_secs"].as_f64().is_some_and(|secs| secs > 0.0));
    assert_eq!(heat["issued_by"], "anna", "{heat}");
    api.stop().await;
}
