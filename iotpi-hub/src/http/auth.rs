//! `/api/auth`: users, sessions and tokens.

use std::time::Duration;

use axum::{
    Extension, Json,
    extract::State,
    response::{AppendHeaders, IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use iotpi_core::{Timestamp, model::id::UserName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    api_router::{ApiRouter, routes},
    cookie::CookieScope,
    extract::{JsonBody, OptionalCredential, PageParams, Path, Query, Uuid},
    page::Page,
    problem::{
        Conflict, NotFound, PermissionDenied, RateLimited, StorageFull, TooLarge, Unauthenticated,
        Unprocessable,
    },
    proxy::Client,
};
use crate::{
    Hub,
    auth::{
        Authenticated, Caller, Credential, Identity, Login,
        token::{IssuedToken, NewToken, TokenInfo},
    },
    error::{HubError, Result},
};

pub(super) fn routes() -> ApiRouter {
    ApiRouter::new()
        .routes(routes!(session))
        .routes(routes!(first_admin))
        .routes(routes!(login))
        .routes(routes!(logout))
        .routes(routes!(jwt))
        .routes(routes!(sign_url))
        .routes(routes!(list_tokens, issue_token))
        .routes(routes!(revoke_token))
}

/// The session of the caller.
#[derive(Debug, Serialize, ToSchema)]
struct Session {
    /// The caller; null without valid credentials.
    #[schema(required)]
    caller: Option<Identity>,
    /// Whether no user exists yet, so that the first admin can be created.
    needs_first_admin: bool,
}

/// Get the current session
///
/// This operation needs no credentials. Without a valid session or token, `caller` is null.
#[utoipa::path(
    get, path = "/api/auth/session", tag = "auth", operation_id = "session", security(()),
    responses((status = 200, description = "The session", body = Session))
)]
async fn session(
    State(hub): State<Hub>,
    authenticated: Option<Extension<Authenticated>>,
    credential: Result<OptionalCredential>,
) -> Result<Json<Session>> {
    let caller = match (authenticated, credential) {
        (Some(Extension(authenticated)), _) => authenticated.caller().identity().cloned(),
        (None, Ok(OptionalCredential(Some(credential)))) => match hub.identify(&credential).await {
            Ok(caller) => caller.identity().cloned(),
            Err(error) if error.kind() == iotpi_core::model::error::ErrorKind::Unauthenticated => None,
            Err(error) => return Err(error),
        },
        _ => None,
    };
    Ok(Json(Session { caller, needs_first_admin: hub.needs_first_admin().await? }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FirstAdmin {
    /// The one-time code that the hub printed when it started.
    #[schema(min_length = 1, max_length = 64)]
    code: String,
    /// The user name of the admin.
    name: UserName,
    /// The password, 8 to 256 characters.
    #[schema(min_length = 8, max_length = 256, format = "password")]
    password: String,
}

/// Create the first admin
///
/// Creates the first user with the one-time code that the hub printed when it started, and logs the user in.
/// This works only while no user exists.
#[utoipa::path(
    post, path = "/api/auth/first-admin", tag = "auth", operation_id = "first_admin", security(()),
    request_body = FirstAdmin,
    responses(
        (status = 200, description = "Logged in", body = Session, headers(("set-cookie" = String, description = "The session cookie"))),
        PermissionDenied, Conflict, TooLarge, RateLimited, StorageFull
    )
)]
async fn first_admin(
    State(hub): State<Hub>,
    client: Client,
    scope: CookieScope,
    JsonBody(body): JsonBody<FirstAdmin>,
) -> Result<Response> {
    logged_in(hub.make_first_admin(client.address, &body.code, body.name, body.password).await?, &scope)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LoginBody {
    /// The user name.
    name: UserName,
    /// The password of the user.
    #[schema(max_length = 256, format = "password")]
    password: String,
}

/// Log in
///
/// Sets the session cookie. After 10 failed attempts in a minute for one name from one network, or 100 from
/// one network, the hub answers `rate_limited`.
#[utoipa::path(
    post, path = "/api/auth/login", tag = "auth", operation_id = "login", security(()),
    request_body = LoginBody,
    responses(
        (status = 200, description = "Logged in", body = Session, headers(("set-cookie" = String, description = "The session cookie"))),
        Unauthenticated, TooLarge, RateLimited, StorageFull
    )
)]
async fn login(
    State(hub): State<Hub>,
    client: Client,
    scope: CookieScope,
    JsonBody(body): JsonBody<LoginBody>,
) -> Result<Response> {
    if body.password.chars().count() > 256 {
        return Err(HubError::invalid_argument("A password has 8 to 256 characters.").at("/password"));
    }
    logged_in(hub.log_in(client.address, &body.name, body.password).await?, &scope)
}

fn logged_in(login: Login, scope: &CookieScope) -> Result<Response> {
    let session = Session { caller: login.caller.identity().cloned(), needs_first_admin: false };
    let cookie = scope.cookie(&login.session, login.lasts.as_secs())?;
    Ok((
        [(header::SET_COOKIE, cookie), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))],
        Json(session),
    )
        .into_response())
}

/// Log out
///
/// Ends the session. Without a session, this succeeds too.
#[utoipa::path(
    post, path = "/api/auth/logout", tag = "auth", operation_id = "logout", security(()),
    responses((status = 204, description = "No session is left", headers(("set-cookie" = String, description = "Removes the session cookie"))), StorageFull)
)]
async fn logout(
    State(hub): State<Hub>,
    scope: CookieScope,
    credential: Result<OptionalCredential>,
) -> Result<Response> {
    if let Ok(OptionalCredential(Some(Credential::Session(secret)))) = credential {
        hub.log_out(&secret).await?;
    }
    let cookies = scope.removal_cookies()?.into_iter().map(|cookie| (header::SET_COOKIE, cookie));
    Ok((StatusCode::NO_CONTENT, AppendHeaders(cookies)).into_response())
}

/// A short-lived JWT.
#[derive(Debug, Serialize, ToSchema)]
struct JwtAnswer {
    /// The JWT.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Seconds until the JWT expires. It ends earlier if its session or token ends.
    expires_in: u64,
}

/// Exchange a session or an API token for a JWT
///
/// The JWT has the role of its owner and is valid for 15 minutes. It ends earlier if the session or token it
/// was issued for ends or its role changes. A JWT cannot be exchanged for another JWT.
#[utoipa::path(
    post, path = "/api/auth/jwt", tag = "auth", operation_id = "jwt",
    responses((status = 200, description = "The JWT", body = JwtAnswer), PermissionDenied)
)]
async fn jwt(State(hub): State<Hub>, credential: OptionalCredential) -> Result<Response> {
    let OptionalCredential(Some(credential)) = credential else {
        return Err(HubError::unauthenticated("Log in or send an API token."));
    };
    let jwt = hub.exchange_for_jwt(&credential).await?;
    let answer =
        JwtAnswer { access_token: jwt.access_token, token_type: "Bearer", expires_in: jwt.lasts.as_secs() };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UrlToSign {
    /// The path and query of `/api/camera/stream`, `/api/camera/snapshot` or `/api/live`.
    #[schema(max_length = 1000, example = "/api/camera/stream?module_id=porch")]
    path: String,
    /// Seconds until the URL expires; the default is 3,600.
    #[schema(minimum = 1, maximum = 86_400)]
    expires_in: Option<u32>,
}

/// A URL that needs no other credentials.
#[derive(Debug, Serialize, ToSchema)]
struct SignedUrlAnswer {
    /// The path and query with the signature, relative to the address of the hub.
    url: String,
    /// The time at which the URL expires, in Unix seconds.
    expires_at: Timestamp,
}

/// Sign a URL
///
/// For `<img>` elements, players and displays that can send neither a header nor a cookie. The URL gives
/// access to one camera stream, snapshot or live connection with GET, exactly as it was signed. It works
/// until it expires or the session or token it was signed with ends. Connections that were opened with it end
/// at the same time.
#[utoipa::path(
    post, path = "/api/auth/url", tag = "auth", operation_id = "sign_url",
    request_body = UrlToSign,
    responses((status = 200, description = "The signed URL", body = SignedUrlAnswer), PermissionDenied, TooLarge)
)]
async fn sign_url(
    State(hub): State<Hub>,
    _caller: Caller,
    credential: OptionalCredential,
    JsonBody(body): JsonBody<UrlToSign>,
) -> Result<Response> {
    let OptionalCredential(Some(credential)) = credential else {
        return Err(HubError::unauthenticated("Log in or send an API token."));
    };
    if body.path.len() > 1000 {
        return Err(HubError::invalid_argument("`path` must not exceed 1,000 characters").at("/path"));
    }
    let lasts = Duration::from_secs(body.expires_in.unwrap_or(3600).into());
    let signed = hub.sign_url(&credential, &body.path, lasts).await?;
    let answer = SignedUrlAnswer { url: signed.url, expires_at: signed.expires_at };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

/// List tokens
///
/// Lists the tokens by name, without their secrets.
#[utoipa::path(
    get, path = "/api/auth/tokens", tag = "auth", operation_id = "list_tokens",
    params(PageParams),
    responses((status = 200, description = "A page of tokens", body = Page<TokenInfo>), PermissionDenied)
)]
async fn list_tokens(
    State(hub): State<Hub>,
    caller: Caller,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<TokenInfo>>> {
    caller.may_administer()?;
    let tokens = hub.store().tokens(&page.request()?).await?;
    Ok(Json(Page::map(tokens, TokenInfo::from)))
}

/// Create a token
///
/// The response contains the secret of the token. The hub does not show it again.
#[utoipa::path(
    post, path = "/api/auth/tokens", tag = "auth", operation_id = "issue_token",
    request_body = NewToken,
    responses((status = 200, description = "The token with its secret", body = IssuedToken), PermissionDenied, Conflict, TooLarge, Unprocessable, StorageFull)
)]
async fn issue_token(
    State(hub): State<Hub>,
    caller: Caller,
    JsonBody(new): JsonBody<NewToken>,
) -> Result<Response> {
    let issued = hub.issue_token(&caller, new).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(issued)).into_response())
}

/// Revoke a token
///
/// Takes effect at once, and ends every JWT and signed URL that was issued with the token, and every
/// connection that was opened with it.
#[utoipa::path(
    delete, path = "/api/auth/tokens/{id}", tag = "auth", operation_id = "revoke_token",
    params(("id" = inline(Uuid), Path, description = "The id of the token")),
    responses((status = 204, description = "Revoked"), PermissionDenied, NotFound, StorageFull)
)]
async fn revoke_token(
    State(hub): State<Hub>,
    caller: Caller,
    Path(Uuid(id)): Path<Uuid>,
) -> Result<StatusCode> {
    hub.revoke_token(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
