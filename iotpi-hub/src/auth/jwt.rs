//! Short-lived JWTs (RFC 7519), signed with the hub's own key by HS256, the one algorithm there is.
//!
//! The header is one constant text, compared whole: there is no algorithm to negotiate, hence none to confuse.
//! Deliberately absent: revocation. A JWT lives to its end, 15 minutes unless configured otherwise.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use iotpi_core::{ModuleId, Timestamp, UserName};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::auth::{Caller, Identity, Role};

/// `{"alg":"HS256","typ":"JWT"}`
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
const ISSUER: &str = "iotpi-hub";
const AUDIENCE: &str = "iotpi-hub";

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
}

/// The hub's key.
#[derive(Clone)]
pub(crate) struct JwtKey(Hmac<Sha256>);

impl std::fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JwtKey")
    }
}

impl JwtKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        #[allow(clippy::expect_used)]
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length (RFC 2104)"))
    }

    /// A JWT for that caller from `now` until `ends`.
    pub(crate) fn sign(&self, who: &Identity, now: Timestamp, ends: Timestamp) -> String {
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: who.name.clone(),
            role: who.role,
            module: who.module_id.clone(),
            iat: now.as_secs_f64(),
            exp: ends.as_secs_f64(),
        };
        let signed = format!("{HEADER}.{}", BASE64.encode(serde_json::to_vec(&claims).unwrap_or_default()));
        let signature = BASE64.encode(self.mac(&signed).finalize().into_bytes());
        format!("{signed}.{signature}")
    }

    /// Whose JWT it is, if this hub signed it and it has not ended.
    pub(crate) fn verify(&self, jwt: &str, now: Timestamp) -> Option<Caller> {
        let (signed, signature) = jwt.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        if header != HEADER {
            return None;
        }
        // Compares in constant time.
        self.mac(signed).verify_slice(&BASE64.decode(signature).ok()?).ok()?;
        let claims: Claims = serde_json::from_slice(&BASE64.decode(payload).ok()?).ok()?;
        let valid = claims.iss == ISSUER && claims.aud == AUDIENCE && now.as_secs_f64() < claims.exp;
        valid.then(|| Caller::known(claims.sub, claims.role, claims.module))
    }

    /// The signature of a text that is no JWT; it has to begin otherwise than one.
    pub(crate) fn sign_text(&self, text: &str) -> [u8; 32] {
        self.mac(text).finalize().into_bytes().into()
    }

    /// Whether it is the signature of that text; compares in constant time.
    pub(crate) fn is_signature(&self, text: &str, signature: &[u8]) -> bool {
        self.mac(text).verify_slice(signature).is_ok()
    }

    fn mac(&self, text: &str) -> Hmac<Sha256> {
        self.0.clone().chain_update(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_795_473_000_000_000);

    fn anna() -> Identity {
        Identity { name: UserName::new("anna").unwrap(), role: Role::Operator, module_id: None, issuer: None }
    }

    #[test]
    fn a_jwt_says_who_it_was_signed_for_until_it_ends() {
        let key = JwtKey::new(&[7; 32]);
        let end = START.plus(Duration::from_secs(900));

        let jwt = key.sign(&anna(), START, end);

        assert_eq!(key.verify(&jwt, START), Some(Caller::Known(anna())));
        assert_eq!(key.verify(&jwt, end), None);
        assert_eq!(JwtKey::new(&[8; 32]).verify(&jwt, START), None);
    }

    #[test]
    fn another_algorithm_or_a_changed_claim_is_refused() {
        let key = JwtKey::new(&[7; 32]);
        let jwt = key.sign(&anna(), START, START.plus(Duration::from_secs(900)));
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
            assert_eq!(key.verify(&forged, START), None, "{forged}");
        }
    }

    #[test]
    fn the_signature_is_that_of_rfc_7515() {
        // RFC 7515 appendix A.1: key, signing input and signature of the standard's own HS256 example.
        let key = BASE64
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let input = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

        let mac = JwtKey(Hmac::new_from_slice(&key).unwrap()).mac(input);

        assert_eq!(BASE64.encode(mac.finalize().into_bytes()), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }
}
