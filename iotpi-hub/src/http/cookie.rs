//! The session cookie.
//!
//! If the browser uses TLS to a proxy in front of the hub, the cookie is `Secure` and its name has a prefix
//! that browsers enforce (RFC 6265bis, section 4.1.3): neither another site of the domain nor a plain HTTP
//! connection can set it.

use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

use super::proxy::{BasePath, Client, connection};
use crate::{
    Hub,
    error::{HubError, Result},
};

/// The name on plain HTTP, which the hub itself serves on loopback or a home network.
pub(super) const SESSION_COOKIE: &str = "iotpi_session";
/// The name with TLS, if the hub has the whole host.
const HOST_COOKIE: &str = "__Host-iotpi_session";
/// The name with TLS, if the hub has a base path.
const SUBPATH_COOKIE: &str = "__Secure-iotpi_session";

static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The session secret of a request. Names that only TLS can set take precedence.
pub(super) fn session(headers: &HeaderMap) -> Option<&str> {
    let value_of = |cookie: &str| {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, value)| *name == cookie && !value.is_empty()).map(|(_, value)| value)
    };
    [HOST_COOKIE, SUBPATH_COOKIE, SESSION_COOKIE].into_iter().find_map(value_of)
}

/// The path and security of the hub's cookies.
#[derive(Debug)]
pub(super) struct CookieScope {
    path: String,
    /// Whether the browser reached the hub over TLS.
    is_secure: bool,
}

impl FromRequestParts<Hub> for CookieScope {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self> {
        let base = BasePath::from_request_parts(parts, hub).await?;
        let by_page = parts
            .headers
            .get(header::ORIGIN)
            .is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
        let peer = connection(&parts.extensions)?.address();
        let by_proxy = Client::is_trusted(&hub.config().http.trusted_proxies, peer)
            && parts.headers.get_all(&FORWARDED_PROTO).iter().next_back().is_some_and(is_https);
        Ok(Self { path: base.cookie_path().to_owned(), is_secure: by_page || by_proxy })
    }
}

/// Whether the client used TLS to the nearest proxy, which adds the last value.
fn is_https(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| {
        text.rsplit(',').next().is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
    })
}

impl CookieScope {
    /// The `Set-Cookie` value of a session.
    pub(super) fn cookie(&self, secret: &str, max_age: u64) -> Result<HeaderValue> {
        let name = match (self.is_secure, self.path.as_str()) {
            (false, _) => SESSION_COOKIE,
            (true, "/") => HOST_COOKIE,
            (true, _) => SUBPATH_COOKIE,
        };
        self.named(name, secret, max_age)
    }

    /// The `Set-Cookie` values that remove the cookie, for each possible name.
    pub(super) fn removal_cookies(&self) -> Result<Vec<HeaderValue>> {
        let plain = Self { path: self.path.clone(), is_secure: false };
        let mut removed = vec![plain.cookie("", 0)?];
        if self.is_secure {
            removed.push(self.cookie("", 0)?);
        }
        Ok(removed)
    }

    fn named(&self, name: &str, secret: &str, max_age: u64) -> Result<HeaderValue> {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let text = format!(
            "{name}={secret}; Path={}; HttpOnly; SameSite=Strict{secure}; Max-Age={max_age}",
            self.path
        );
        HeaderValue::try_from(text)
            .map_err(|error| HubError::internal("the cookie is not a valid header value").caused_by(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_that_only_tls_can_set_takes_precedence() {
        let of = |line: &'static str| {
            let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static(line))]);
            session(&headers).map(str::to_owned)
        };

        assert_eq!(of("a=b; iotpi_session=1"), Some("1".to_owned()));
        assert_eq!(of("iotpi_session=1; __Host-iotpi_session=2"), Some("2".to_owned()));
        assert_eq!(of("iotpi_session=1; __Secure-iotpi_session=3"), Some("3".to_owned()));
        assert_eq!(of("iotpi_session="), None);
        assert_eq!(of("a=b"), None);
    }

    #[test]
    fn over_tls_the_cookie_is_secure_and_its_name_has_a_prefix() {
        let cookie = |path: &str, is_secure| {
            let scope = CookieScope { path: path.to_owned(), is_secure };
            scope.cookie("x", 60).unwrap().to_str().unwrap().to_owned()
        };

        assert_eq!(cookie("/", false), "iotpi_session=x; Path=/; HttpOnly; SameSite=Strict; Max-Age=60");
        assert_eq!(
            cookie("/", true),
            "__Host-iotpi_session=x; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=60"
        );
        assert_eq!(
            cookie("/iotpi", true),
            "__Secure-iotpi_session=x; Path=/iotpi; HttpOnly; SameSite=Strict; Secure; Max-Age=60"
        );
    }

    #[test]
    fn the_value_of_the_nearest_proxy_counts() {
        let https = |text: &'static str| is_https(&HeaderValue::from_static(text));

        assert!(https("https") && https("http, HTTPS"));
        assert!(!https("http") && !https("https, http") && !https(""));
    }
}
