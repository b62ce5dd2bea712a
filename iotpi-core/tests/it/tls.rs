//! The client with a TLS server whose certificate is from a private authority.

use std::{error::Error as _, sync::Arc};

use iotpi_core::{HubClient, UplinkError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer},
};

use crate::bounded;

const HEALTHY: &str = r#"{"status":"ok","version":"0.1.0","uptime_secs":1.5}"#;

/// A listener, an acceptor with a certificate for `localhost`, and the root certificate.
async fn authority() -> (TcpListener, TlsAcceptor, String) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener, TlsAcceptor::from(Arc::new(config)), authority.pem())
}

/// Starts a server; returns its address and the root certificate.
async fn server() -> (String, String) {
    let (listener, acceptor, root) = authority().await;
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            // It fails if the client does not trust the certificate.
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await.unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{HEALTHY}", HEALTHY.len());
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, root)
}

#[tokio::test]
async fn a_hub_behind_tls_is_reached_with_its_root_certificate() {
    let (url, root) = server().await;
    let hub = HubClient::new(&url).unwrap().with_root_certificate(root.as_bytes()).unwrap();

    let health = bounded("the answer", hub.health()).await.unwrap();

    assert_eq!(health.status, "ok");
}

#[tokio::test]
async fn an_unknown_certificate_is_refused_with_its_reason() {
    let (url, _) = server().await;

    let error = bounded("the answer", HubClient::new(&url).unwrap().health()).await.unwrap_err();

    assert!(matches!(error, UplinkError::Unreachable { .. }), "{error:?}");
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    assert!(causes.any(|cause| cause.to_string().contains("certificate")), "{error:?}");
}

#[cfg(feature = "live")]
#[tokio::test]
async fn the_live_connection_uses_tls_too() {
    use futures_util::{SinkExt as _, StreamExt as _};
    use iotpi_core::model::event::{LiveMessage, Subscription};
    use tokio_tungstenite::{accept_async, tungstenite::Message};

    let (listener, acceptor, root) = authority().await;
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let socket = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        let mut live = accept_async(socket).await.unwrap();
        let subscribe = live.next().await.unwrap().unwrap();
        assert!(subscribe.to_text().unwrap().contains("subscribe"));
        let recent = r#"{"type":"recent","seq":7,"readings":[],"modules":[],"cameras":[]}"#;
        live.send(Message::text(recent)).await.unwrap();
        let _ = live.next().await;
    });
    let hub = HubClient::new(&url).unwrap().with_root_certificate(root.as_bytes()).unwrap();

    let mut live = bounded("the subscription", hub.live(&Subscription::default())).await.unwrap();

    let message = bounded("a message", live.next()).await.unwrap();
    assert!(matches!(message, Some(LiveMessage::Recent { seq: 7, .. })), "{message:?}");
}

#[test]
fn a_text_without_certificates_is_refused() {
    let hub = HubClient::new("https://hub.example").unwrap();

    assert!(hub.clone().with_root_certificate(b"").is_err());
    assert!(
        hub.with_root_certificate(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err()
    );
}
