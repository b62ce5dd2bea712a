//! Logging in and out, the first admin, tokens; and who a credential belongs to.

use std::{
    net::IpAddr,
    sync::atomic::Ordering::{Relaxed, Release},
    time::Duration,
};

use iotpi_core::{ErrorKind, Timestamp, UserName};

use crate::{
    Hub,
    auth::{
        Caller, Role, Secret, Target, hash,
        signed_url::{self, Issuer},
        token::{self, IssuedToken, NewToken},
    },
    error::{HubError, Result},
    store::{Now, SecretHash, Steady, StoreError, TokenRecord, UserRecord, hex},
};

/// The longest life of a signed URL.
const MAX_URL_LIFE: Duration = Duration::from_secs(24 * 3600);

/// What a request shows of who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// `Authorization: Bearer`: a token or a JWT.
    Bearer(String),
    /// The session cookie.
    Session(String),
}

/// A session just begun.
#[derive(Debug)]
pub struct Login {
    /// Who logged in.
    pub caller: Caller,
    /// What the browser keeps in its cookie.
    pub session: String,
    /// How long it lasts.
    pub lasts: Duration,
}

/// A URL just signed.
#[derive(Debug)]
pub struct SignedUrl {
    /// Path and query with the signature, relative to the address of the hub.
    pub url: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A JWT just signed.
#[derive(Debug)]
pub struct Jwt {
    /// What to send as `Authorization: Bearer`.
    pub access_token: String,
    /// How long it lasts; it cannot be revoked.
    pub lasts: Duration,
}

impl Hub {
    /// Whose credential it is.
    ///
    /// # Errors
    /// `Unauthenticated` when it is nobody's (any more), the store's.
    ///
    /// # Cancel safety
    /// Changes nothing that matters.
    pub async fn identify(&self, credential: &Credential) -> Result<Caller> {
        let now = self.now();
        let (Credential::Bearer(secret) | Credential::Session(secret)) = credential;
        let hash = hash(secret);
        let caller = match (credential, issuer_of(credential, hash)) {
            (_, Some(issuer)) => self.owner_of(issuer, now).await?,
            (Credential::Bearer(jwt) | Credential::Session(jwt), None) => {
                let caller = self.inner.jwt.verify(jwt, now.wall).ok_or_else(|| {
                    HubError::unauthenticated(
                        "This is neither a valid token nor a valid JWT. It may have expired.",
                    )
                })?;
                caller.who_showed(name_of(&hash))
            }
        };
        if let Some(issuer) = caller.issuer() {
            self.inner.issuers.seen(issuer, now.steady);
        }
        Ok(caller)
    }

    /// Whose session or token it is.
    async fn owner_of(&self, issuer: Issuer, now: Now) -> Result<Caller> {
        match issuer {
            Issuer::Session(hash) => {
                let user = self.store().session(&hash, now).await?;
                let user =
                    user.ok_or_else(|| HubError::unauthenticated("The session has ended. Log in again."))?;
                Ok(Caller::known(user.name, user.role, None).who_showed(name_of(&hash)))
            }
            Issuer::Token(hash) => {
                if let Some(caller) = self.inner.known.get(&hash, now.steady) {
                    return Ok(caller);
                }
                let token = self.store().token(&hash).await?;
                let token = token.ok_or_else(|| {
                    HubError::unauthenticated("This token is unknown or revoked. Send a valid token.")
                })?;
                self.note_use_of(&token).await;
                let caller = Caller::known(token.name, token.role, token.module_id);
                let caller = caller.who_showed(name_of(&hash));
                self.inner.known.keep(hash, &caller, now.steady);
                Ok(caller)
            }
        }
    }

    /// Whether a session or token that was shown when a connection was opened still exists. It is no sign of life of whoever
    /// showed it. A JWT that was good when the connection was opened is good for the connection.
    pub(crate) async fn still_exists(&self, credential: &Credential) -> bool {
        let (Credential::Bearer(secret) | Credential::Session(secret)) = credential;
        let Some(issuer) = issuer_of(credential, hash(secret)) else { return true };
        match self.owner_of(issuer, self.now()).await {
            Ok(_) => true,
            // A store that fails ends no connection.
            Err(error) => error.kind() != ErrorKind::Unauthenticated,
        }
    }

    /// Makes a URL with which a camera stream, a snapshot or the live connection can be opened without any other credential.
    /// `target` is its path and query; the answer is the same with a signature. The URL has the rights of the session or token
    /// that made it, and ends with it.
    ///
    /// # Errors
    /// `Unauthenticated`; `PermissionDenied` for a JWT, which cannot be looked up later, and for a caller that may not read;
    /// `InvalidArgument` (another path, a life outside 1 s to a day); the store's.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn sign_url(
        &self,
        credential: &Credential,
        target: &str,
        lasts: Duration,
    ) -> Result<SignedUrl> {
        self.identify(credential).await?.may_read()?;
        let (Credential::Bearer(secret) | Credential::Session(secret)) = credential;
        let issuer = issuer_of(credential, hash(secret)).ok_or_else(|| {
            HubError::permission_denied("a JWT cannot sign a URL: use a session or an API token")
        })?;
        if lasts < Duration::from_secs(1) || lasts > MAX_URL_LIFE {
            return Err(HubError::invalid_argument("`expires_in` is 1 to 86,400 seconds").at("/expires_in"));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if !signed_url::PATHS.contains(&path) {
            let paths = signed_url::PATHS.map(str::to_owned).to_vec();
            return Err(HubError::invalid_argument(format!(
                "a URL can be signed for {} only, each with its query",
                paths.join(", ")
            ))
            .at("/path")
            .with_choices(paths));
        }
        let is_query = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>');
        if !query.bytes().all(is_query) || query.split('&').any(|pair| pair.starts_with("sig=")) {
            return Err(HubError::invalid_argument(
                "the query has to be percent-encoded and without a field `sig`",
            )
            .at("/path"));
        }
        let ends = Timestamp::from_micros(self.now().wall.plus(lasts).as_micros() / 1_000_000 * 1_000_000);
        let target = signed_url::target(path, query);
        let signature = signed_url::sign(&self.inner.jwt, &target, issuer, ends);
        let separator = if query.is_empty() { '?' } else { '&' };
        Ok(SignedUrl {
            url: format!("{target}{separator}{}={signature}", signed_url::FIELD),
            expires_at: ends,
        })
    }

    /// Who a signed URL acts for: the owner of the session or token that made it, while that exists.
    ///
    /// # Errors
    /// `Unauthenticated` when the signature is not the hub's, is for another URL, or has expired; the store's.
    ///
    /// # Cancel safety
    /// Changes nothing that matters.
    pub async fn identify_signed(&self, path: &str, query: &str, signature: &str) -> Result<Caller> {
        let now = self.now();
        let target = signed_url::target(path, query);
        let issuer = signed_url::verify(&self.inner.jwt, &target, signature, now.wall).ok_or_else(|| {
            HubError::unauthenticated(
                "the signed URL has expired, or was made for another path or query: make a new one with POST /api/auth/url",
            )
        })?;
        // It is no sign of life of the one who made it.
        Ok(self.owner_of(issuer, now).await?.without_issuer())
    }

    /// Written once an hour: a token is used with every request.
    async fn note_use_of(&self, token: &TokenRecord) {
        const AN_HOUR: Duration = Duration::from_secs(3600);
        let now = self.now();
        if token.last_used_at.is_none_or(|last| now.wall.since(last) >= AN_HOUR)
            && let Err(error) = self.store().touch_token(&token.id, now).await
        {
            // The request itself need not fail for this.
            tracing::warn!(token = %token.name, error = &error as &dyn std::error::Error, "last use not kept");
        }
    }

    /// Whether nobody can log in yet.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn needs_first_admin(&self) -> Result<bool> {
        if !self.inner.has_users.load(Relaxed) && self.store().has_users().await? {
            self.inner.has_users.store(true, Release);
        }
        Ok(!self.inner.has_users.load(Relaxed))
    }

    /// A fresh one-time code with which the first admin can be made, to be shown to whoever started the hub; nothing when
    /// there is a user. The code before no longer works.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancel safety
    /// Cancelled, the code before still works.
    pub async fn first_admin_code(&self) -> Result<Option<String>> {
        if self.needs_first_admin().await? { self.inner.first_admin.new_code().map(Some) } else { Ok(None) }
    }

    /// Makes the first admin and logs them in.
    ///
    /// # Errors
    /// `Conflict` (there is a user), `PermissionDenied` (another code), `InvalidArgument` (the password),
    /// `RateLimited`, the store's.
    ///
    /// # Cancel safety
    /// Made or not.
    pub async fn make_first_admin(
        &self,
        from: IpAddr,
        code: &str,
        name: UserName,
        password: String,
    ) -> Result<Login> {
        if !self.needs_first_admin().await? {
            return Err(HubError::conflict("An administrator account exists already. Log in instead."));
        }
        self.inner.throttle.attempt(from, &Target::FirstAdmin, self.inner.clock.uptime())?;
        if !self.inner.first_admin.is(code) {
            return Err(HubError::permission_denied(
                "This code is not valid. Use the newest code in the hub's log.",
            )
            .at("/code"));
        }
        self.inner.throttle.succeeded(from, &Target::FirstAdmin);
        let password_hash = self.inner.passwords.hash(password).await?;
        let user = UserRecord { name, role: Role::Admin, password_hash };
        self.store().add_first_user(&user, self.now()).await?;
        self.inner.first_admin.used();
        self.inner.has_users.store(true, Release);
        self.begin_session(user).await
    }

    /// Logs somebody in.
    ///
    /// # Errors
    /// `Unauthenticated`, `RateLimited` (ten failures a minute for one name from one network, 100 from one network), the store's.
    ///
    /// # Cancel safety
    /// A cancelled attempt counts as a failed one.
    pub async fn log_in(&self, from: IpAddr, name: &UserName, password: String) -> Result<Login> {
        let target = Target::Account(name.clone());
        self.inner.throttle.attempt(from, &target, self.inner.clock.uptime())?;
        let user = self.store().user(name).await?;
        let known_hash = user.as_ref().map(|user| user.password_hash.clone());
        match (self.inner.passwords.verify(password, known_hash).await?, user) {
            (true, Some(user)) => {
                self.inner.throttle.succeeded(from, &target);
                self.begin_session(user).await
            }
            _ => Err(HubError::unauthenticated("Wrong name or password.")),
        }
    }

    async fn begin_session(&self, user: UserRecord) -> Result<Login> {
        let lasts = Duration::from_secs(u64::from(self.config().auth.session_days) * 86_400);
        let secret = Secret::new("")?;
        let now = self.now();
        self.store().open_session(&secret.hash(), &user.name, Steady(now.steady.0.plus(lasts)), now).await?;
        Ok(Login { caller: Caller::known(user.name, user.role, None), session: secret.0, lasts })
    }

    /// Ends a session; one that has ended is fine.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancel safety
    /// Ended or not.
    pub async fn log_out(&self, session: &str) -> Result<()> {
        Ok(self.store().end_session(&hash(session)).await?)
    }

    /// Signs a JWT that says what the credential's owner is.
    ///
    /// # Errors
    /// `Unauthenticated`; `PermissionDenied` for a JWT, which would otherwise live for ever; the store's.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn exchange_for_jwt(&self, credential: &Credential) -> Result<Jwt> {
        let caller = self.identify(credential).await?;
        match credential {
            Credential::Bearer(text) if !text.starts_with(token::PREFIX) => {
                return Err(HubError::permission_denied(
                    "A JWT cannot be exchanged for another JWT. Send an API token.",
                ));
            }
            _ => {}
        }
        let who = caller
            .identity()
            .ok_or_else(|| HubError::unauthenticated("Log in or send an API token first."))?;
        let lasts = Duration::from_secs(self.config().auth.jwt_secs);
        let now = self.now().wall;
        Ok(Jwt { access_token: self.inner.jwt.sign(who, now, now.plus(lasts)), lasts })
    }

    /// Makes a token.
    ///
    /// # Errors
    /// `PermissionDenied`, and as [`token::issue`].
    ///
    /// # Cancel safety
    /// As [`token::issue`].
    pub async fn issue_token(&self, caller: &Caller, new: NewToken) -> Result<IssuedToken> {
        caller.may_administer()?;
        token::issue(self.store().as_ref(), new, self.now().wall).await
    }

    /// Revokes a token, at once.
    ///
    /// # Errors
    /// `PermissionDenied`, `NotFound`, the store's.
    ///
    /// # Cancel safety
    /// Revoked or not.
    pub async fn revoke_token(&self, caller: &Caller, id: &str) -> Result<()> {
        caller.may_administer()?;
        match self.store().revoke_token(id).await {
            Err(StoreError::NotFound(_)) => Err(HubError::not_found("There is no token with this id.")),
            other => {
                self.inner.known.forget();
                Ok(other?)
            }
        }
    }
}

/// The session or token a credential is; nothing for a JWT.
fn issuer_of(credential: &Credential, hash: SecretHash) -> Option<Issuer> {
    match credential {
        Credential::Session(_) => Some(Issuer::Session(hash)),
        Credential::Bearer(secret) => secret.starts_with(token::PREFIX).then_some(Issuer::Token(hash)),
    }
}

/// Half of the hash tells sessions and tokens apart, and is of no use to anybody who reads it.
fn name_of(hash: &SecretHash) -> String {
    hex(&hash[..16])
}
