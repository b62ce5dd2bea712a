//! Short-lived JWTs (RFC 7519), signed with the hub's own key. HS256 is the only algorithm.
//!
//! The header is one constant text, which is compared as a whole. There is no algorithm to negotiate, hence
//! none to confuse.
//!
//! A JWT contains the hash of the session or token it was issued for. Every use checks that this issuer still
//! exists with the same role, so a JWT ends with its issuer. Its life is bounded twice, by the wall clock and
//! by the hub's [credential time](crate::Hub::credential_time), so a wrong or adjusted clock cannot extend
//! it.

use std::{sync::Mutex, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use iotpi_core::{ModuleId, Timestamp, model::id::UserName};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    auth::{Caller, Identity, Issuer, Role},
    error::Result,
    lock::lock,
    store::{Now, SecretHash, Steady, Store},
};

/// `{"alg":"HS256","typ":"JWT"}`
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
const ISSUER: &str = "iotpi-hub";
const AUDIENCE: &str = "iotpi-hub";
/// How far the wall clock may step back, as NTP does in small steps, before a new JWT counts as issued in the
/// future.
const MAX_CLOCK_STEP: Duration = Duration::from_secs(30);
/// How long a key is cached after it was read.
const KEY_CACHE_TTL: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: UserName,
    role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<ModuleId>,
    iat: f64,
    exp: f64,
    /// The session or token it was issued for.
    by: String,
    /// The times of issue and expiry, in microseconds of credential time.
    from_us: i64,
    until_us: i64,
}

/// The id of a key, which does not reveal the key.
pub(crate) type KeyId = [u8; 8];

/// The claims of a verified JWT.
#[derive(Debug)]
pub(crate) struct VerifiedJwt {
    /// The caller it was issued to.
    pub(crate) caller: Caller,
    /// The session or token it was issued for.
    pub(crate) issuer: Issuer,
    /// When it expires, in credential time.
    pub(crate) expires_at: Steady,
}

/// The key that signs JWTs and URLs.
#[derive(Clone)]
pub(crate) struct JwtKey {
    mac: Hmac<Sha256>,
    id: KeyId,
}

impl std::fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JwtKey")
    }
}

impl JwtKey {
    pub(crate) fn new(key: &SecretHash) -> Self {
        let mut id = KeyId::default();
        let named: [u8; 32] = Sha256::digest([b"id of ".as_slice(), key].concat()).into();
        id.copy_from_slice(&named[..8]);
        #[allow(clippy::expect_used)]
        let mac = Hmac::new_from_slice(key).expect("HMAC takes keys of any length (RFC 2104)");
        Self { mac, id }
    }

    /// The id of the key.
    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    /// Issues a JWT for a caller authenticated by `issuer`, valid from `now` on. `now.steady` is credential
    /// time.
    pub(crate) fn sign(&self, who: &Identity, issuer: Issuer, now: Now, lasts: Duration) -> String {
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: who.name.clone(),
            role: who.role,
            module: who.module_id.clone(),
            iat: now.wall.as_secs_f64(),
            exp: now.wall.plus(lasts).as_secs_f64(),
            by: issuer.to_text(),
            from_us: now.steady.0.as_micros(),
            until_us: now.steady.0.plus(lasts).as_micros(),
        };
        let signed = format!("{HEADER}.{}", BASE64.encode(serde_json::to_vec(&claims).unwrap_or_default()));
        let signature = BASE64.encode(self.mac(&signed).finalize().into_bytes());
        format!("{signed}.{signature}")
    }

    /// Verifies that this hub signed the JWT, that it is valid now, and that it lives no longer than
    /// `max_life`.
    pub(crate) fn verify(&self, jwt: &str, now: Now, max_life: Duration) -> Option<VerifiedJwt> {
        let (signed, signature) = jwt.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        if header != HEADER {
            return None;
        }
        // Compares in constant time.
        self.mac(signed).verify_slice(&BASE64.decode(signature).ok()?).ok()?;
        let claims: Claims = serde_json::from_slice(&BASE64.decode(payload).ok()?).ok()?;
        let (from, until) = (Timestamp::from_micros(claims.from_us), Timestamp::from_micros(claims.until_us));
        let wall = now.wall.as_secs_f64();
        let valid = claims.iss == ISSUER
            && claims.aud == AUDIENCE
            && claims.iat <= wall + MAX_CLOCK_STEP.as_secs_f64()
            && wall < claims.exp
            && claims.exp - claims.iat <= max_life.as_secs_f64() + 0.001
            && from <= now.steady.0
            && now.steady.0 < until
            && until.since(from) <= max_life;
        let issuer = Issuer::from_text(&claims.by)?;
        valid.then(|| VerifiedJwt {
            caller: Caller::known(claims.sub, claims.role, claims.module),
            issuer,
            expires_at: Steady(until),
        })
    }

    /// Signs a text that is not a JWT. The text must not begin like one.
    pub(crate) fn sign_text(&self, text: &str) -> [u8; 32] {
        self.mac(text).finalize().into_bytes().into()
    }

    /// Whether this is the signature of the text, compared in constant time.
    pub(crate) fn is_signature(&self, text: &str, signature: &[u8]) -> bool {
        self.mac(text).verify_slice(signature).is_ok()
    }

    fn mac(&self, text: &str) -> Hmac<Sha256> {
        self.mac.clone().chain_update(text.as_bytes())
    }
}

/// The name of the key in the store.
const KEY: &str = "jwt";

/// The cached signing key. It is read again every second, because another process may replace it.
#[derive(Debug, Default)]
pub(crate) struct SigningKey(Mutex<Option<(JwtKey, Steady)>>);

impl SigningKey {
    /// Returns the current key, and creates one if there is none.
    pub(crate) async fn get(&self, store: &dyn Store, now: Steady) -> Result<JwtKey> {
        let cached = lock(&self.0).clone();
        if let Some((key, at)) = cached
            && now.0.since(at.0) < KEY_CACHE_TTL
        {
            return Ok(key);
        }
        let secret = match store.read_hub_secret(KEY).await? {
            Some(secret) => secret,
            None => store.hub_secret(KEY, super::random()?).await?,
        };
        let key = JwtKey::new(&secret);
        *lock(&self.0) = Some((key.clone(), now));
        Ok(key)
    }
}

/// Replaces the signing key. This ends every JWT and every signed URL. A running hub uses the new key within
/// a second.
///
/// # Errors
/// The errors of the store.
///
/// # Cancel safety
/// Replaced or not.
pub async fn rotate_key(store: &dyn Store) -> Result<()> {
    store.replace_hub_secret(KEY, super::random()?).await?;
    tracing::info!(target: super::SECURITY, "the signing key of JWTs and URLs was replaced");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_795_473_000_000_000);
    const LIFE: Duration = Duration::from_secs(900);
    const ISSUED_BY: Issuer = Issuer::Token([9; 32]);
    const TEN_YEARS: Duration = Duration::from_secs(3650 * 86_400);

    fn at(wall: Timestamp, steady: Timestamp) -> Now {
        Now { wall, steady: Steady(steady) }
    }

    fn anna() -> Identity {
        Identity { name: UserName::new("anna").unwrap(), role: Role::Operator, module_id: None, issuer: None }
    }

    #[test]
    fn a_jwt_identifies_its_caller_until_it_expires() {
        let key = JwtKey::new(&[7; 32]);
        let (start, end) = (at(START, START), at(START.plus(LIFE), START.plus(LIFE)));

        let jwt = key.sign(&anna(), ISSUED_BY, start, LIFE);

        let verified = key.verify(&jwt, start, LIFE).unwrap();
        assert_eq!((verified.caller, verified.issuer), (Caller::Known(anna()), ISSUED_BY));
        assert_eq!(verified.expires_at, end.steady);
        assert!(key.verify(&jwt, end, LIFE).is_none());
        assert!(JwtKey::new(&[8; 32]).verify(&jwt, start, LIFE).is_none());
        assert_ne!(JwtKey::new(&[8; 32]).id(), key.id());
    }

    #[test]
    fn no_wrong_clock_makes_a_jwt_live_longer() {
        let key = JwtKey::new(&[7; 32]);
        let ahead = key.sign(&anna(), ISSUED_BY, at(START.plus(TEN_YEARS), START), LIFE);
        let jwt = key.sign(&anna(), ISSUED_BY, at(START, START), LIFE);

        // Issued while the clock was ahead. The clock was set back since.
        assert!(key.verify(&ahead, at(START, START), LIFE).is_none());
        // The wall clock was set back after it expired.
        assert!(key.verify(&jwt, at(START, START.plus(LIFE)), LIFE).is_none());
        // Issued by a hub with a longer limit.
        assert!(key.verify(&jwt, at(START, START), LIFE / 2).is_none());
        // A small step back is tolerated.
        assert!(key.verify(&jwt, at(START.minus(Duration::from_secs(20)), START), LIFE).is_some());
        assert!(key.verify(&jwt, at(START.minus(Duration::from_secs(60)), START), LIFE).is_none());
    }

    #[test]
    fn another_algorithm_or_a_changed_claim_is_refused() {
        let key = JwtKey::new(&[7; 32]);
        let now = at(START, START);
        let jwt = key.sign(&anna(), ISSUED_BY, now, LIFE);
        let [_, payload, signature] = jwt.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
        let none = BASE64.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let claims = String::from_utf8(BASE64.decode(payload).unwrap()).unwrap();
        let admin = BASE64.encode(claims.replace("operator", "admin"));

        for forged in [
            format!("{none}.{payload}."),
            format!("{none}.{payload}.{signature}"),
            format!("{HEADER}.{admin}.{signature}"),
            format!("{HEADER}.{payload}."),
            "a.b".to_owned(),
            String::new(),
        ] {
            assert!(key.verify(&forged, now, LIFE).is_none(), "{forged}");
        }
    }

    #[test]
    fn the_signature_is_that_of_rfc_7515() {
        // RFC 7515 appendix A.1: key, signing input and signature of the standard's own HS256 example.
        let key = BASE64
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let input = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

        let mac = JwtKey { mac: Hmac::new_from_slice(&key).unwrap(), id: KeyId::default() }.mac(input);

        assert_eq!(BASE64.encode(mac.finalize().into_bytes()), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }
}
