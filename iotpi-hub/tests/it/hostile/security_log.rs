//! The security log of logins, tokens and users contains no secret.

use std::{
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex},
};

use http::Method;
use iotpi_core::model::id::UserName;
use iotpi_hub::auth::{Role, SECURITY, user};
use serde_json::json;
use tracing::{Event, Metadata, Subscriber, field::Visit, span};

use crate::support::api::{Api, NOW};

const PASSWORD: &str = "correct horse battery";

/// Collects the target and the fields of every event.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(String, String)>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push((event.metadata().target().to_owned(), fields.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn security_events_are_logged_without_a_secret() {
    let log = Log::default();
    let _collecting = tracing::subscriber::set_default(log.clone());
    let security_events = || log.0.lock().unwrap().iter().filter(|(target, _)| target == SECURITY).count();
    let api = Api::start().await;
    let mut logged = security_events();
    let mut logs_one = || {
        let before = std::mem::replace(&mut logged, security_events());
        assert!(logged > before, "nothing was logged");
    };

    let code = api.hub.hub().first_admin_code().await.unwrap().unwrap();
    let body = json!({"code": code, "name": "anna", "password": PASSWORD});
    let login = api.open(Method::POST, "/api/auth/first-admin").json(body).send().await;
    logs_one();
    let cookie = login.header("set-cookie").split(';').next().unwrap().to_owned();
    let jwt = api.open(Method::POST, "/api/auth/jwt").header("cookie", &cookie).ok().await;
    let login = |password: &str| {
        api.open(Method::POST, "/api/auth/login").json(json!({"name": "anna", "password": password})).send()
    };
    for wrong in 0..10 {
        assert_eq!(login(&format!("a secret of {wrong}")).await.status, 401);
        logs_one();
    }
    assert_eq!(login(PASSWORD).await.status, 429);
    logs_one();
    let issued = api.post("/api/auth/tokens", json!({"name": "script", "role": "viewer"})).ok().await;
    logs_one();
    api.delete(&format!("/api/auth/tokens/{}", issued["id"].as_str().unwrap())).ok().await;
    logs_one();
    let module = api.lamp().await;
    api.delete("/api/modules/led").ok().await;
    logs_one();
    let store = api.hub.store();
    let bert = UserName::new("bert").unwrap();
    let new = user::NewUser { name: bert.clone(), role: Role::Viewer, password: PASSWORD.to_owned() };
    user::add(store.as_ref(), new, NOW).await.unwrap();
    logs_one();
    user::set_password(store.as_ref(), &bert, "another password".to_owned()).await.unwrap();
    logs_one();
    user::remove(store.as_ref(), &bert).await.unwrap();
    logs_one();
    api.open(Method::POST, "/api/auth/logout").header("cookie", &cookie).ok().await;
    logs_one();

    let session = cookie.split_once('=').unwrap().1;
    let token = issued["token"].as_str().unwrap();
    let jwt = jwt["access_token"].as_str().unwrap();
    for (target, fields) in log.0.lock().unwrap().iter() {
        for secret in
            [PASSWORD, "a secret of", "another password", session, token, jwt, &module, &code, &api.admin]
        {
            assert!(!fields.contains(secret), "{target} {fields}");
        }
    }
    api.stop().await;
}
