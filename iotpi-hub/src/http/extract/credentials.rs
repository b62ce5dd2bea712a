//! The caller of a request, identified by a session, token, JWT or signed URL.

use axum::extract::{FromRef, FromRequestParts};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{Method, header, request::Parts};

use super::super::{
    cookie,
    proxy::{Client, connection},
};
use crate::{
    Hub,
    admission::Holder,
    auth::{Authenticated, Caller, Credential, signed_url},
    error::{HubError, Result},
    ops::authorization::{Authorization, RequestAuthorization},
};

/// The session, token or JWT of a request.
pub(crate) fn credential(parts: &Parts) -> Result<Option<Credential>> {
    if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(token_of).ok_or_else(|| {
            HubError::unauthenticated(
                "`Authorization` must be `Bearer TOKEN`, or `Basic` with the token as the password.",
            )
        })?;
        return Ok(Some(Credential::Bearer(token)));
    }
    Ok(cookie::session(&parts.headers).map(|secret| Credential::Session(secret.to_owned())))
}

/// The unverified session, token or JWT of the request; nothing if it has a signed URL.
pub(crate) struct OptionalCredential(pub(crate) Option<Credential>);

impl FromRequestParts<Hub> for OptionalCredential {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, _: &Hub) -> Result<Self> {
        if signature(parts).is_some() {
            return Ok(Self(None));
        }
        credential(parts).map(Self)
    }
}

/// The token in an `Authorization` header. With HTTP Basic (RFC 7617) it is the password, and the user name
/// is ignored. If only a user name is given, as in `http://TOKEN@hub/`, it is the token.
fn token_of(authorization: &str) -> Option<String> {
    let (scheme, value) = authorization.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.trim().to_owned());
    }
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| BASE64.decode(value.trim()))?.ok()?;
    let pair = String::from_utf8(decoded).ok()?;
    let (name, password) = pair.split_once(':')?;
    Some(if password.is_empty() { name } else { password }.to_owned())
}

/// The signature in the query of a GET without an `Authorization` header, and the rest of the query.
fn signature(parts: &Parts) -> Option<(String, &str)> {
    let may_be = parts.method == Method::GET && !parts.headers.contains_key(header::AUTHORIZATION);
    signed_url::split(parts.uri.query().filter(|_| may_be)?)
}

/// The error for a request without credentials.
fn missing_credential(parts: &Parts) -> HubError {
    let names = ["token", "access_token", "auth", "api_key", "apikey", "key", "password", "jwt", "bearer"];
    let mut fields =
        parts.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split('=').next());
    if fields.any(|field| names.iter().any(|name| field.eq_ignore_ascii_case(name))) {
        return HubError::unauthenticated(
            "Tokens in the query are ignored, because addresses are logged. Send `Authorization: Bearer TOKEN`, or create a \
             signed URL with POST /api/auth/url.",
        );
    }
    HubError::unauthenticated("Authentication is required. Log in or send `Authorization: Bearer TOKEN`.")
}

/// Authenticates the caller. The response ends with the authorization.
impl FromRequestParts<Hub> for Authorization {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self> {
        let authorized = parts.extensions.get::<RequestAuthorization>().cloned().unwrap_or_default();
        if let Some(authorization) = authorized.get() {
            return Ok(authorization.clone());
        }
        let authorization = match (parts.extensions.get::<Authenticated>(), signature(parts)) {
            (Some(authenticated), _) => Authorization::by_program(hub, authenticated),
            (None, Some((query, signature))) => {
                hub.authorize_signed(parts.uri.path(), &query, signature).await?
            }
            (None, None) => {
                hub.authorize(&credential(parts)?.ok_or_else(|| missing_credential(parts))?).await?
            }
        };
        // A route of the program may be on a server that issues no permits.
        if let Ok(connection) = connection(&parts.extensions) {
            connection.authenticated(Holder::of_caller(authorization.caller(), connection.address()))?;
        }
        if let Some(module) = authorization.caller().module_id() {
            hub.touch_known_module(module);
        }
        authorized.set(&authorization);
        Ok(authorization)
    }
}

/// Routes of the program can use this extractor too.
impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Hub: FromRef<S>,
{
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        Ok(Authorization::from_request_parts(parts, &Hub::from_ref(state)).await?.caller().clone())
    }
}

/// A caller that may deliver: an authenticated one, or an anonymous one from a network in
/// `auth.anonymous_ingest`.
pub(crate) struct IngestAuth(pub(crate) Caller);

impl FromRequestParts<Hub> for IngestAuth {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self> {
        if parts.extensions.get::<Authenticated>().is_none() && credential(parts)?.is_none() {
            let client = Client::from_request_parts(parts, hub).await?;
            if hub.config().auth.anonymous_ingest.iter().any(|network| network.contains(&client.address)) {
                if client.is_certain {
                    connection(&parts.extensions)?.authenticated(Holder::of_address(client.address))?;
                    return Ok(Self(Caller::Anonymous));
                }
                return Err(HubError::unauthenticated(
                    "A proxy forwarded this request, so the network of its sender is unknown. Send a token, or add the \
                     proxy to http.trusted_proxies.",
                ));
            }
        }
        Caller::from_request_parts(parts, hub).await.map(Self)
    }
}
