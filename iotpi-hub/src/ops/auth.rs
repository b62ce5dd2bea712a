//! Login and logout, the first admin, tokens, and the identification of credentials.

use std::{
    net::IpAddr,
    sync::atomic::Ordering::{Relaxed, Release},
    time::Duration,
};

use iotpi_core::{ModuleId, Timestamp, model::id::UserName};

use crate::{
    Hub,
    auth::{
        Caller, Credential, Issuer, Jwt, Login, LoginTarget, RevocationList, Role, SECURITY, Secret,
        SignedUrl, hash,
        jwt::JwtKey,
        revocation_list, signed_url,
        token::{self, IssuedToken, NewToken},
    },
    error::{HubError, Result},
    ops::authorization::{Authorization, Basis, VerifiedCredential, is_unauthenticated},
    store::{Now, SecretHash, Steady, Store, TokenRecord, UserRecord, hex},
};

/// The note with the newest credential time.
const CREDENTIAL_TIME: &str = "credential_time";
/// The interval at which it is saved. After a boot with an older clock, credentials that expired since the
/// last save are valid again for at most this long.
const NOTE_CREDENTIAL_TIME_EVERY: Duration = Duration::from_secs(300);

impl Hub {
    /// Identifies the caller of a credential.
    ///
    /// # Errors
    /// `Unauthenticated` if the credential is not valid (any more), the store's.
    ///
    /// # Cancel safety
    /// Has no effect that matters.
    pub async fn identify(&self, credential: &Credential) -> Result<Caller> {
        Ok(self.authorize(credential).await?.caller().clone())
    }

    /// Identifies the caller of a credential and the end of its authorization.
    pub(crate) async fn authorize(&self, credential: &Credential) -> Result<Authorization> {
        let revision = self.inner.token_cache.revision();
        let (Credential::Bearer(secret) | Credential::Session(secret)) = credential;
        let hash = hash(secret);
        let (caller, credential_info) = match issuer_of(credential, hash) {
            Some(issuer) => (self.owner_of(issuer).await?, VerifiedCredential::from(issuer)),
            None => self.owner_of_jwt(secret, hash).await?,
        };
        if let Some(issuer) = caller.issuer() {
            self.inner.issuers.touch(issuer, self.now().steady);
        }
        Ok(Authorization::new(self, caller, credential_info, revision))
    }

    /// The owner of a session or token.
    async fn owner_of(&self, issuer: Issuer) -> Result<Caller> {
        let steady = self.now().steady;
        let revision = self.inner.token_cache.revision();
        match issuer {
            // Looked up each time: a replaced password or a changed role takes effect at once.
            Issuer::Session(hash) => {
                let user = self.inner.store.session(&hash, self.credential_now()).await?;
                let user =
                    user.ok_or_else(|| HubError::unauthenticated("The session has ended. Log in again."))?;
                Ok(Caller::known(user.name, user.role, None).with_issuer(name_of(&hash)))
            }
            Issuer::Token(hash) => {
                if let Some(caller) = self.inner.token_cache.get(&issuer, steady) {
                    return Ok(caller);
                }
                let token = self.inner.store.token(&hash).await?;
                let token = token.ok_or_else(|| {
                    HubError::unauthenticated("This token is unknown or revoked. Send a valid token.")
                })?;
                self.touch_token(&token).await;
                let caller = Caller::known(token.name, token.role, token.module_id);
                let caller = caller.with_issuer(name_of(&hash));
                self.inner.token_cache.insert(issuer, &caller, steady, revision);
                Ok(caller)
            }
        }
    }

    /// The owner of a JWT: the caller it was made for, while the session or token that made it exists and has
    /// the same rights.
    async fn owner_of_jwt(&self, jwt: &str, hash: SecretHash) -> Result<(Caller, VerifiedCredential)> {
        let key = self.signing_key().await?;
        let max_life = Duration::from_secs(self.config().auth.jwt_secs);
        let verified = key.verify(jwt, self.credential_now(), max_life).ok_or_else(|| {
            HubError::unauthenticated("This is neither a valid token nor a valid JWT. It may have expired.")
        })?;
        let owner = self.owner_of(verified.issuer).await;
        let owner =
            owner.map_err(|error| if is_unauthenticated(&error) { ended_with_issuer() } else { error })?;
        if !owner.has_same_rights(&verified.caller) {
            return Err(ended_with_issuer());
        }
        let credential_info = VerifiedCredential {
            issuer: verified.issuer,
            expires_at: Some(verified.expires_at),
            key_id: Some(key.id()),
        };
        Ok((verified.caller.with_issuer(name_of(&hash)), credential_info))
    }

    /// Whether a connection opened with this authorization may continue. This is no evidence of the issuer's
    /// presence.
    pub(crate) async fn still_holds(&self, authorization: &Authorization) -> bool {
        let credential_info = match authorization.basis() {
            Basis::Credential(credential_info) => credential_info,
            Basis::Program(ended) => return !ended.is_cancelled(),
        };
        if credential_info.expires_at.is_some_and(|expires_at| expires_at <= self.credential_time()) {
            return false;
        }
        // A failing store does not end connections.
        if let Some(key) = credential_info.key_id
            && self.signing_key().await.is_ok_and(|now| now.id() != key)
        {
            return false;
        }
        match self.owner_of(credential_info.issuer).await {
            Ok(owner) => owner.has_same_rights(authorization.caller()),
            Err(error) => !is_unauthenticated(&error),
        }
    }

    async fn signing_key(&self) -> Result<JwtKey> {
        self.inner.signing_key.get(self.inner.store.as_ref(), self.now().steady).await
    }

    /// The time in which the life of sessions, JWTs and signed URLs is measured: see
    /// [`HubClock::credential_time`].
    ///
    /// [`HubClock::credential_time`]: crate::clock::HubClock::credential_time
    pub(crate) fn credential_time(&self) -> Steady {
        self.inner.clock.credential_time()
    }

    /// The current time, with credential time as the steady time.
    fn credential_now(&self) -> Now {
        Now { wall: self.now().wall, steady: self.credential_time() }
    }

    /// Saves the credential time if it is due or the hub stops.
    pub(crate) async fn save_credential_time(&self) {
        let now = self.credential_time().0;
        let due = self.inner.credential_time_saved.load(Relaxed) + micros(NOTE_CREDENTIAL_TIME_EVERY);
        if now.as_micros() < due && !self.stopping().is_cancelled() {
            return;
        }
        match self.inner.store.set_note(CREDENTIAL_TIME, &now.as_micros().to_string()).await {
            Ok(()) => self.inner.credential_time_saved.store(now.as_micros(), Relaxed),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the time could not be noted");
            }
        }
    }

    /// Signs a URL that opens a camera stream, a snapshot or the live connection without another credential.
    /// `target` is its path and query; the result is the same with a signature. The URL has the rights of the
    /// session or token that made it, and ends with it.
    ///
    /// # Errors
    /// `Unauthenticated`; `PermissionDenied` for a JWT, whose life the URL would extend, and for a caller
    /// that may not read; `InvalidArgument` (another path, a lifetime outside 1 s to a day); the store's.
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
        if lasts < Duration::from_secs(1) || lasts > signed_url::MAX_LIFE {
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
        let to_the_second =
            |at: Timestamp| Timestamp::from_micros(at.plus(lasts).as_micros() / 1_000_000 * 1_000_000);
        let now = self.credential_now();
        let target = signed_url::target(path, query);
        let ends = Steady(to_the_second(now.steady.0));
        let signature = signed_url::sign(&self.signing_key().await?, &target, issuer, ends);
        let separator = if query.is_empty() { '?' } else { '&' };
        Ok(SignedUrl {
            url: format!("{target}{separator}{}={signature}", signed_url::FIELD),
            expires_at: to_the_second(now.wall),
        })
    }

    /// Identifies the caller of a signed URL: the owner of the session or token that made it, while that
    /// exists.
    ///
    /// # Errors
    /// `Unauthenticated` if the signature is invalid, belongs to another URL, or has expired; the store's.
    ///
    /// # Cancel safety
    /// Has no effect that matters.
    pub async fn identify_signed(&self, path: &str, query: &str, signature: &str) -> Result<Caller> {
        Ok(self.authorize_signed(path, query, signature).await?.caller().clone())
    }

    /// Identifies the caller of a signed URL and the end of its authorization.
    pub(crate) async fn authorize_signed(
        &self,
        path: &str,
        query: &str,
        signature: &str,
    ) -> Result<Authorization> {
        let revision = self.inner.token_cache.revision();
        let target = signed_url::target(path, query);
        let key = self.signing_key().await?;
        let verified = signed_url::verify(&key, &target, signature, self.credential_time());
        let (issuer, ends) = verified.ok_or_else(|| {
            HubError::unauthenticated(
                "the signed URL has expired, or was made for another path or query: make a new one with POST /api/auth/url",
            )
        })?;
        // A signed URL is no evidence of its maker's presence.
        let caller = self.owner_of(issuer).await?.without_issuer();
        let credential_info = VerifiedCredential { issuer, expires_at: Some(ends), key_id: Some(key.id()) };
        Ok(Authorization::new(self, caller, credential_info, revision))
    }

    /// Saved once an hour: a token is used with every request.
    async fn touch_token(&self, token: &TokenRecord) {
        const AN_HOUR: Duration = Duration::from_secs(3600);
        let now = self.now();
        if token.last_used_at.is_none_or(|last| now.wall.since(last) >= AN_HOUR)
            && let Err(error) = self.inner.store.touch_token(&token.id, now).await
        {
            // The request itself does not fail for this reason.
            tracing::warn!(token = %token.name, error = &error as &dyn std::error::Error, "last use not kept");
        }
    }

    /// Whether there is no user yet.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn needs_first_admin(&self) -> Result<bool> {
        if !self.inner.has_users.load(Relaxed) && self.inner.store.has_users().await? {
            self.inner.has_users.store(true, Release);
        }
        Ok(!self.inner.has_users.load(Relaxed))
    }

    /// Creates a new one-time code for the first admin, to be shown to the person who started the hub; `None`
    /// if there is a user. The previous code becomes invalid.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancel safety
    /// If cancelled, the previous code remains valid.
    pub async fn first_admin_code(&self) -> Result<Option<String>> {
        if self.needs_first_admin().await? {
            self.inner.first_admin_code.generate().map(Some)
        } else {
            Ok(None)
        }
    }

    /// Creates the first admin and logs them in.
    ///
    /// # Errors
    /// `Conflict` (there is a user), `PermissionDenied` (wrong code), `InvalidArgument` (the password),
    /// `RateLimited`, the store's.
    ///
    /// # Cancel safety
    /// Created or not.
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
        self.attempt(from, &LoginTarget::FirstAdmin)?;
        if !self.inner.first_admin_code.matches(code) {
            tracing::warn!(target: SECURITY, %from, "a wrong code for the first admin");
            return Err(HubError::permission_denied(
                "This code is not valid. Use the newest code in the hub's log.",
            )
            .at("/code"));
        }
        self.inner.login_rate_limit.succeeded(from, &LoginTarget::FirstAdmin);
        let password_hash = self.inner.passwords.hash(password).await?;
        let user = UserRecord { name, role: Role::Admin, password_hash };
        self.inner.store.add_first_user(&user, self.now()).await?;
        self.inner.first_admin_code.invalidate();
        self.inner.has_users.store(true, Release);
        tracing::info!(target: SECURITY, user = %user.name, role = user.role.as_str(), %from, "the first admin was added");
        self.begin_session(user, from).await
    }

    /// Logs a user in.
    ///
    /// # Errors
    /// `Unauthenticated`, `RateLimited` (ten failures a minute for one name from one network, 100 from one
    /// network), the store's.
    ///
    /// # Cancel safety
    /// A cancelled attempt counts as a failed one.
    pub async fn log_in(&self, from: IpAddr, name: &UserName, password: String) -> Result<Login> {
        let target = LoginTarget::Account(name.clone());
        self.attempt(from, &target)?;
        let user = self.inner.store.user(name).await?;
        let known_hash = user.as_ref().map(|user| user.password_hash.clone());
        match (self.inner.passwords.verify(password, known_hash).await?, user) {
            (true, Some(user)) => {
                self.inner.login_rate_limit.succeeded(from, &target);
                self.begin_session(user, from).await
            }
            _ => {
                tracing::warn!(target: SECURITY, user = %name, %from, "a login failed");
                Err(HubError::unauthenticated("Wrong name or password."))
            }
        }
    }

    /// Counts an attempt, and refuses it after too many.
    fn attempt(&self, from: IpAddr, target: &LoginTarget) -> Result<()> {
        self.inner.login_rate_limit.attempt(from, target, self.inner.clock.uptime()).inspect_err(|_| {
            tracing::warn!(target: SECURITY, %from, account = %target, "locked out after too many failed attempts");
        })
    }

    async fn begin_session(&self, user: UserRecord, from: IpAddr) -> Result<Login> {
        let lasts = Duration::from_secs(u64::from(self.config().auth.session_days) * 86_400);
        let secret = Secret::new("")?;
        let now = self.credential_now();
        self.inner
            .store
            .open_session(&secret.hash(), &user.name, Steady(now.steady.0.plus(lasts)), now)
            .await?;
        tracing::info!(target: SECURITY, user = %user.name, %from, "logged in");
        Ok(Login { caller: Caller::known(user.name, user.role, None), session: secret.0, lasts })
    }

    /// Ends a session. A session that has already ended is not an error.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancel safety
    /// Ended or not.
    pub async fn log_out(&self, session: &str) -> Result<()> {
        self.inner.store.end_session(&hash(session)).await?;
        self.inner.token_cache.invalidate();
        tracing::info!(target: SECURITY, "logged out");
        Ok(())
    }

    /// Signs a JWT with the rights of the credential's owner.
    ///
    /// # Errors
    /// `Unauthenticated`; `PermissionDenied` for a JWT, which would otherwise live forever; the store's.
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
        let (Credential::Bearer(secret) | Credential::Session(secret)) = credential;
        let issuer = issuer_of(credential, hash(secret))
            .ok_or_else(|| HubError::internal("a JWT without a session or token"))?;
        let lasts = Duration::from_secs(self.config().auth.jwt_secs);
        let key = self.signing_key().await?;
        Ok(Jwt { access_token: key.sign(who, issuer, self.credential_now(), lasts), lasts })
    }

    /// Creates a token.
    ///
    /// # Errors
    /// `PermissionDenied`, and those of [`token::issue`].
    ///
    /// # Cancel safety
    /// As [`token::issue`].
    pub async fn issue_token(&self, caller: &Caller, new: NewToken) -> Result<IssuedToken> {
        caller.may_administer()?;
        token::issue(self.inner.store.as_ref(), new, self.now().wall).await
    }

    /// Revokes a token at once.
    ///
    /// # Errors
    /// `PermissionDenied`, `NotFound`, the store's.
    ///
    /// # Cancel safety
    /// Revoked or not.
    pub async fn revoke_token(&self, caller: &Caller, id: &str) -> Result<()> {
        caller.may_administer()?;
        token::revoke(self.inner.store.as_ref(), id).await?;
        self.inner.token_cache.invalidate();
        Ok(())
    }

    /// The ids of a module's tokens.
    pub(crate) async fn tokens_of(&self, id: &ModuleId) -> Result<Vec<String>> {
        let tokens = revocation_list::tokens(self.inner.store.as_ref()).await?;
        Ok(tokens
            .into_iter()
            .filter(|token| token.module_id.as_ref() == Some(id))
            .map(|token| token.id)
            .collect())
    }

    /// Revokes the tokens of a removed module: a backup does not bring them back, and their connections end.
    pub(crate) fn revoked_with_module(&self, id: &ModuleId, tokens: &[String]) {
        RevocationList::for_store(self.inner.store.as_ref()).append(tokens);
        self.inner.token_cache.invalidate();
        tracing::info!(target: SECURITY, module = %id, tokens = tokens.len(), "a module was removed with its tokens");
    }
}

/// The newest credential time that an earlier start of the hub saved.
pub(crate) async fn stored_credential_time(store: &dyn Store) -> Result<Option<Timestamp>> {
    let note = store.note(CREDENTIAL_TIME).await?;
    Ok(note.and_then(|text| text.parse().ok()).map(Timestamp::from_micros))
}

/// Restores the state of credentials at the start: revoked tokens stay revoked, a restored database gets a
/// new key and no sessions, and no session exceeds its full lifetime.
pub(crate) async fn restore_credential_state(
    store: &dyn Store,
    now: Steady,
    longest: Duration,
) -> Result<()> {
    RevocationList::for_store(store).apply(store).await?;
    crate::auth::reset_credentials_if_restored(store).await?;
    Ok(store.clamp_sessions(Steady(now.0.plus(longest))).await?)
}

fn ended_with_issuer() -> HubError {
    HubError::unauthenticated(
        "The session or token this JWT was made with has ended or has other rights. Get a new one with POST /api/auth/jwt.",
    )
}

fn micros(while_: Duration) -> i64 {
    i64::try_from(while_.as_micros()).unwrap_or(i64::MAX)
}

/// The session or token of a credential; `None` for a JWT.
fn issuer_of(credential: &Credential, hash: SecretHash) -> Option<Issuer> {
    match credential {
        Credential::Session(_) => Some(Issuer::Session(hash)),
        Credential::Bearer(secret) => secret.starts_with(token::PREFIX).then_some(Issuer::Token(hash)),
    }
}

/// Half of the hash distinguishes sessions and tokens, and is useless to a reader.
fn name_of(hash: &SecretHash) -> String {
    hex(&hash[..16])
}
