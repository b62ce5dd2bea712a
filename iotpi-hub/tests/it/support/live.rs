//! A client of the live protocol.

use futures_util::{SinkExt as _, StreamExt as _};
use http::Request;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _, protocol::frame::coding::CloseCode},
};

use super::{api::Api, wait::bounded};

pub struct Live(pub WebSocketStream<TcpStream>);

pub fn request(api: &Api, token: &str) -> Request<()> {
    let mut request = format!("ws://{}/api/live", api.hub.address()).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

impl Live {
    pub async fn connect(api: &Api) -> Self {
        Self::over(api, TcpStream::connect(api.hub.address()).await.unwrap()).await
    }

    pub async fn over(api: &Api, stream: TcpStream) -> Self {
        let (socket, _) = client_async(request(api, &api.admin), stream).await.unwrap();
        let mut live = Self(socket);
        assert_eq!(live.receive().await["type"], "hello");
        live
    }

    pub async fn send(&mut self, message: Value) {
        self.0.send(Message::Text(message.to_string().into())).await.unwrap();
    }

    pub async fn receive(&mut self) -> Value {
        bounded("a message", async {
            loop {
                match self.0.next().await.expect("the hub closed the connection").unwrap() {
                    Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                    Message::Ping(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        })
        .await
    }

    /// The code with which the hub closes the connection.
    pub async fn closed(&mut self) -> Option<CloseCode> {
        bounded("the end of the connection", async {
            while let Some(message) = self.0.next().await {
                match message {
                    Ok(Message::Close(frame)) => return frame.map(|f| f.code),
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
            None
        })
        .await
    }

    pub async fn subscribe(&mut self, subscription: Value) -> Value {
        let mut message = json!({"type": "subscribe"});
        message.as_object_mut().unwrap().extend(subscription.as_object().unwrap().clone());
        self.send(message).await;
        self.receive().await
    }
}
