//! Long-lived connections end with the session or token that opened them, even if another program such as
//! `iotpi-hub user` ended it.

use http::Method;
use iotpi_core::{
    HubClient,
    model::{event::Subscription, id::UserName},
};
use iotpi_hub::auth::{
    Role,
    token::{NewToken, issue},
    user,
};
use serde_json::json;
use tokio_tungstenite::tungstenite::{
    Message, client::IntoClientRequest as _, protocol::frame::coding::CloseCode,
};

use crate::support::{
    api::{Api, id, jpeg},
    wait::bounded,
};

/// Issues a token; returns its id and its secret.
async fn issue_token(api: &Api) -> (String, String) {
    let new = NewToken { name: UserName::new("display").unwrap(), role: Role::Viewer, module_id: None };
    let issued = issue(api.hub.store().as_ref(), new, iotpi_core::SystemClock::shared().now()).await.unwrap();
    (issued.info.id, issued.token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_connection_ends_with_its_token() {
    let api = Api::start().await;
    let (token_id, token) = issue_token(&api).await;
    let client = |token: &str| HubClient::new(&api.hub.url()).unwrap().with_token(token.to_owned());
    let mut revoked = client(&token).live(&Subscription::default()).await.unwrap();
    let mut other = client(&api.admin).live(&Subscription::default()).await.unwrap();

    api.hub.store().revoke_token(&token_id).await.unwrap();

    let end = async { while let Ok(Some(_)) = revoked.next().await {} };
    bounded("the end of the live connection", end).await;
    api.post("/api/sensors/temperature", json!({"module_id": "shed", "value": 1})).ok().await;
    let event = async { while !format!("{:?}", other.next().await.unwrap().unwrap()).contains("shed") {} };
    bounded("an event on the other live connection", event).await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_connection_ends_with_its_session_and_a_close_code() {
    let api = Api::start().await;
    let store = api.hub.store();
    let name = UserName::new("anna").unwrap();
    let new = user::NewUser { name: name.clone(), role: Role::Viewer, password: "forgotten-one".to_owned() };
    user::add(store.as_ref(), new, iotpi_core::SystemClock::shared().now()).await.unwrap();
    let login = api.open(Method::POST, "/api/auth/login");
    let login = login.json(json!({"name": "anna", "password": "forgotten-one"})).send().await;
    let cookie = login.header("set-cookie").split(';').next().unwrap().to_owned();
    let mut request = format!("ws://{}/api/live", api.hub.address()).into_client_request().unwrap();
    request.headers_mut().insert("cookie", cookie.parse().unwrap());
    let (mut live, _) = tokio_tungstenite::connect_async(request).await.unwrap();

    user::set_password(store.as_ref(), &name, "remembered-one".to_owned()).await.unwrap();

    let close = async {
        loop {
            if let Message::Close(frame) = futures_util::StreamExt::next(&mut live).await.unwrap().unwrap() {
                return frame.unwrap().code;
            }
        }
    };
    assert_eq!(bounded("the end of the live connection", close).await, CloseCode::Policy);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_stream_ends_with_its_token() {
    let api = Api::start().await;
    let (token_id, token) = issue_token(&api).await;
    api.call(Method::POST, "/api/camera/frame?module_id=yard").jpeg(jpeg(8, 8, 0)).ok().await;
    let client = HubClient::new(&api.hub.url()).unwrap().with_token(token);
    let mut frames = client.frames(Some(&id("yard"))).await.unwrap();
    bounded("a frame", frames.next()).await.unwrap().unwrap();

    api.hub.store().revoke_token(&token_id).await.unwrap();

    // No-signal frames may follow.
    let end = async { while let Ok(Some(_)) = frames.next().await {} };
    bounded("the end of the stream", end).await;
    api.stop().await;
}
