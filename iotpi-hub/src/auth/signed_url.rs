//! Signed URLs for clients that can send neither a header nor a cookie, such as a video player or an `<img>`
//! on a wall display.
//!
//! The signature is an HMAC-SHA-256 with the hub's own key over the path, the rest of the query, the expiry
//! and the session or token that issued it. The URL contains the hash of that session or token, and every use
//! checks that it still exists. Deliberately absent: the session or token itself, and any method other than
//! GET.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use iotpi_core::Timestamp;

use super::jwt::JwtKey;
use crate::store::{SecretHash, Steady};

/// The query parameter with the signature.
pub(crate) const FIELD: &str = "sig";
/// The paths that can be signed.
pub(crate) const PATHS: [&str; 3] = ["/api/camera/stream", "/api/camera/snapshot", "/api/live"];

/// The longest life of a signed URL.
pub(crate) const MAX_LIFE: Duration = Duration::from_secs(24 * 3600);

/// A session or token, identified by its kind and its stored hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Issuer {
    Session(SecretHash),
    Token(SecretHash),
}

impl Issuer {
    /// The form in JWTs and signed URLs.
    pub(crate) fn to_text(self) -> String {
        let (kind, hash) = match self {
            Self::Session(hash) => ("s", hash),
            Self::Token(hash) => ("t", hash),
        };
        format!("{kind}.{}", BASE64.encode(hash))
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let (kind, hash) = text.split_once('.')?;
        let hash = BASE64.decode(hash).ok()?.try_into().ok()?;
        match kind {
            "s" => Some(Self::Session(hash)),
            "t" => Some(Self::Token(hash)),
            _ => None,
        }
    }
}

/// The value of `sig` for a target (path and query) that expires at `expires_at` in credential time, rounded
/// down to the second.
pub(crate) fn sign(key: &JwtKey, target: &str, issuer: Issuer, expires_at: Steady) -> String {
    let claims = format!("{}.{}", issuer.to_text(), expires_at.0.as_micros().div_euclid(1_000_000));
    let signature = BASE64.encode(key.sign_text(&signed(target, &claims)));
    format!("{claims}.{signature}")
}

/// The issuer and expiry of a signed target, if the signature is valid and not expired. An expiry beyond the
/// longest life means that the URL was signed while the clock was ahead, and is invalid.
pub(crate) fn verify(key: &JwtKey, target: &str, signature: &str, now: Steady) -> Option<(Issuer, Steady)> {
    let (claims, mac) = signature.rsplit_once('.')?;
    if !key.is_signature(&signed(target, claims), &BASE64.decode(mac).ok()?) {
        return None;
    }
    let (issuer, ends) = claims.rsplit_once('.')?;
    let ends = Timestamp::from_micros(ends.parse::<i64>().ok()?.checked_mul(1_000_000)?);
    let issuer = Issuer::from_text(issuer)?;
    (now.0 < ends && ends.since(now.0) <= MAX_LIFE).then_some((issuer, Steady(ends)))
}

/// Splits a query into the part without `sig` and the value of `sig`. Returns nothing if it is missing or
/// repeated.
pub(crate) fn split(query: &str) -> Option<(String, &str)> {
    let (mut signature, mut rest) = (None, Vec::new());
    for pair in query.split('&') {
        match pair.strip_prefix(FIELD).and_then(|pair| pair.strip_prefix('=')) {
            Some(value) if signature.replace(value).is_some() => return None,
            Some(_) => {}
            None => rest.push(pair),
        }
    }
    Some((rest.join("&"), signature?))
}

/// Joins a path and its query.
pub(crate) fn target(path: &str, query: &str) -> String {
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// The text to sign. No JWT begins like this, so a signature of one is never valid for the other.
fn signed(target: &str, claims: &str) -> String {
    format!("signed url\nGET {target}\n{claims}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_795_473_000_000_000);
    const TARGET: &str = "/api/camera/stream?module_id=porch";

    #[test]
    fn a_signature_holds_for_its_target_its_key_and_its_time() {
        let key = JwtKey::new(&[7; 32]);
        let issuer = Issuer::Token([9; 32]);
        let (now, ends) = (Steady(NOW), Steady(NOW.plus(Duration::from_secs(60))));

        let signature = sign(&key, TARGET, issuer, ends);

        assert_eq!(verify(&key, TARGET, &signature, now), Some((issuer, ends)));
        let longer = sign(&key, TARGET, issuer, Steady(NOW.plus(MAX_LIFE + Duration::from_secs(1))));
        assert_eq!(verify(&key, TARGET, &longer, now), None);
        assert_eq!(verify(&key, TARGET, &signature, ends), None);
        assert_eq!(verify(&JwtKey::new(&[8; 32]), TARGET, &signature, now), None);
        assert_eq!(verify(&key, "/api/camera/stream", &signature, now), None);
        assert_eq!(verify(&key, "/api/camera/stream?module_id=attic", &signature, now), None);
    }

    #[test]
    fn a_changed_claim_breaks_the_signature() {
        let key = JwtKey::new(&[7; 32]);
        let signature =
            sign(&key, TARGET, Issuer::Session([9; 32]), Steady(NOW.plus(Duration::from_secs(60))));

        for forged in [
            signature.replacen("s.", "t.", 1),
            signature.replace("1795473060", "1795479999"),
            signature.trim_end_matches(|c| c != '.').to_owned(),
            "s.a.b".to_owned(),
            String::new(),
        ] {
            assert_eq!(verify(&key, TARGET, &forged, Steady(NOW)), None, "{forged}");
        }
    }

    #[test]
    fn the_signature_is_taken_out_of_the_query_wherever_it_is() {
        assert_eq!(split("sig=a"), Some((String::new(), "a")));
        assert_eq!(split("module_id=b&sig=a"), Some(("module_id=b".to_owned(), "a")));
        assert_eq!(split("sig=a&module_id=b"), Some(("module_id=b".to_owned(), "a")));
        for none in ["", "module_id=b", "signature=a", "sig=a&sig=b"] {
            assert_eq!(split(none), None, "{none}");
        }
    }
}
