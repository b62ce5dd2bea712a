//! Requests through a proxy: the address of the client and the base path of the hub.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::extract::{FromRequestParts, OriginalUri};
use http::{Extensions, HeaderMap, HeaderName, Request, Uri, header, request::Parts, uri::PathAndQuery};
use ipnet::IpNet;

use crate::{
    Hub,
    admission::ConnectionPermit,
    config::{HttpConfig, is_base_path},
    error::{HubError, Result},
};

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
static REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The client that sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    /// The address of the client if it is known, else that of the nearest proxy.
    pub(crate) address: IpAddr,
    /// Whether it is the address of the client. It is not if an untrusted proxy forwarded the request, or a
    /// trusted one sent an invalid address.
    pub(crate) is_certain: bool,
}

impl Client {
    /// The client of a request from this peer. If the peer is one of `trusted`, `X-Forwarded-For` is read
    /// from its end, where the nearest proxy added its value, up to the first address that is not trusted.
    /// Otherwise it is the peer.
    pub(crate) fn of(trusted: &[IpNet], peer: IpAddr, headers: &HeaderMap) -> Self {
        let is_trusted = |address: &IpAddr| Self::is_trusted(trusted, *address);
        let mut address = peer.to_canonical();
        if !is_trusted(&address) {
            let forwarded = [&FORWARDED_FOR, &REAL_IP, &header::FORWARDED];
            let is_certain = !forwarded.into_iter().any(|name| headers.contains_key(name));
            return Self { address, is_certain };
        }
        let lines: Vec<_> = headers.get_all(&FORWARDED_FOR).iter().collect();
        for line in lines.into_iter().rev() {
            for hop in line.to_str().unwrap_or("?").rsplit(',') {
                match address_of(hop.trim()) {
                    Some(hop) => address = hop,
                    None => return Self { address, is_certain: false },
                }
                if !is_trusted(&address) {
                    return Self { address, is_certain: true };
                }
            }
        }
        Self { address, is_certain: true }
    }
}

impl Client {
    /// Whether the address belongs to a trusted proxy.
    pub(crate) fn is_trusted(trusted: &[IpNet], address: IpAddr) -> bool {
        trusted.iter().any(|network| network.contains(&address.to_canonical()))
    }
}

/// Parses an address with or without a port, and IPv6 with or without brackets.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

/// The base path of the hub as the client sees it, if it is known: empty, or such as `/iotpi`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BasePath(Option<String>);

impl BasePath {
    /// Removes `http.base_path` from the path of the request, for a proxy that does not, and stores the base
    /// path in the request: the configured one, or that in `X-Forwarded-Prefix` from a proxy that removed it,
    /// followed by the path at which the program nests the router of the hub. The header affects only links
    /// and the path of the cookie, so it is accepted from any client.
    pub(crate) fn strip<B>(http: &HttpConfig, mut request: Request<B>) -> Request<B> {
        let nested = nested_prefix(&request);
        let base = match without(request.uri(), &http.base_path) {
            Some(uri) => {
                *request.uri_mut() = uri;
                Some(format!("{nested}{}", http.base_path))
            }
            None => match forwarded_prefix(request.headers()) {
                None if nested.is_empty() => None,
                forwarded => Some(forwarded.unwrap_or_default() + &nested),
            },
        };
        if base.is_some() {
            request.extensions_mut().insert(Self(base));
        }
        request
    }

    /// The `Path` of the hub's cookies.
    pub(crate) fn cookie_path(&self) -> &str {
        self.0.as_deref().filter(|base| !base.is_empty()).unwrap_or("/")
    }

    /// The reference from a page at this path to the root of the hub, without a trailing slash. It is
    /// absolute if the base path is known. Otherwise it is relative, which works below any path that a proxy
    /// removed.
    #[cfg_attr(not(feature = "dashboard"), allow(dead_code))] // Only the page uses it.
    pub(crate) fn root_from(&self, path: &str) -> String {
        match &self.0 {
            Some(base) => base.clone(),
            None => match path.matches('/').count() {
                0 | 1 => ".".to_owned(),
                slashes => vec![".."; slashes - 1].join("/"),
            },
        }
    }
}

/// The connection permit of a request, which the accept loop or the service of [`Hub::router`] stores in
/// its extensions.
pub(crate) fn connection(extensions: &Extensions) -> Result<&Arc<ConnectionPermit>> {
    extensions.get().ok_or_else(|| HubError::internal("the request has no connection"))
}

impl FromRequestParts<Hub> for Client {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self> {
        let peer = connection(&parts.extensions)?.address();
        Ok(Self::of(&hub.config().http.trusted_proxies, peer, &parts.headers))
    }
}

impl FromRequestParts<Hub> for BasePath {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, _: &Hub) -> Result<Self> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// The path at which the router of the hub is nested in another one, which removed it; empty if it is not.
fn nested_prefix<B>(request: &Request<B>) -> String {
    let Some(OriginalUri(original)) = request.extensions().get() else { return String::new() };
    let (original, path) = (original.path(), request.uri().path());
    // `/iotpi` and `/iotpi/` are both passed on as `/`.
    let prefix = original.strip_suffix(path).unwrap_or(if path == "/" { original } else { "" });
    // Part of it may come from the client, if the program nests the router at a path with a parameter.
    if is_base_path(prefix) { prefix.to_owned() } else { String::new() }
}

fn forwarded_prefix(headers: &HeaderMap) -> Option<String> {
    let prefix = headers.get(&FORWARDED_PREFIX)?.to_str().ok()?.trim().trim_end_matches('/');
    (prefix.is_empty() || is_base_path(prefix)).then(|| prefix.to_owned())
}

/// Removes the base path from the target. Returns nothing if the target does not begin with it.
fn without(uri: &Uri, base: &str) -> Option<Uri> {
    if base.is_empty() {
        return None;
    }
    let target = uri.path_and_query()?.as_str().strip_prefix(base)?;
    let target = match target.as_bytes().first() {
        Some(b'/') => target.to_owned(),
        None | Some(b'?') => format!("/{target}"),
        // A different path with the same beginning.
        Some(_) => return None,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> (String, bool) {
        let trusted = ["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(&FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        let client = Client::of(&trusted, peer.parse().unwrap(), &headers);
        (client.address.to_string(), client.is_certain)
    }

    #[test]
    fn the_client_is_the_nearest_address_that_is_not_a_trusted_proxy() {
        for (peer, forwarded, address, is_certain) in [
            ("192.0.2.9", &[][..], "192.0.2.9", true),
            ("::ffff:192.0.2.9", &[], "192.0.2.9", true),
            ("127.0.0.1", &[], "127.0.0.1", true),
            ("127.0.0.1", &["203.0.113.5"], "203.0.113.5", true),
            // Values from the client itself are further left.
            ("127.0.0.1", &["192.168.1.7, 203.0.113.5"], "203.0.113.5", true),
            ("127.0.0.1", &["192.168.1.7", "203.0.113.5"], "203.0.113.5", true),
            ("127.0.0.1", &["203.0.113.5, 10.0.0.3 ,10.0.0.2"], "203.0.113.5", true),
            ("127.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3", true),
            ("127.0.0.1", &["203.0.113.5:51234"], "203.0.113.5", true),
            ("127.0.0.1", &["[2001:db8::5]:51234"], "2001:db8::5", true),
            ("fd00::1", &["2001:db8::5"], "2001:db8::5", true),
            ("127.0.0.1", &["::ffff:203.0.113.5"], "203.0.113.5", true),
            ("127.0.0.1", &["203.0.113.5, unknown"], "127.0.0.1", false),
            ("127.0.0.1", &["203.0.113.5, unknown, 10.0.0.2"], "10.0.0.2", false),
            ("127.0.0.1", &[""], "127.0.0.1", false),
            // An untrusted peer can send any value.
            ("192.0.2.9", &["192.168.1.7"], "192.0.2.9", false),
        ] {
            assert_eq!(client(peer, forwarded), (address.to_owned(), is_certain), "{peer} {forwarded:?}");
        }
    }

    fn stripped(base_path: &str, target: &str, prefix: Option<&str>) -> (String, BasePath) {
        let http = HttpConfig { base_path: base_path.to_owned(), ..HttpConfig::default() };
        let mut request = Request::builder().uri(target);
        if let Some(prefix) = prefix {
            request = request.header(&FORWARDED_PREFIX, prefix);
        }
        let request = BasePath::strip(&http, request.body(()).unwrap());
        (request.uri().to_string(), request.extensions().get().cloned().unwrap_or_default())
    }

    #[test]
    fn the_base_path_is_configured_or_sent_by_the_proxy() {
        let known = |base: &str| BasePath(Some(base.to_owned()));
        for (base_path, target, prefix, left, base) in [
            ("", "/a?b=c", None, "/a?b=c", BasePath(None)),
            ("", "/a", Some("/iotpi"), "/a", known("/iotpi")),
            ("", "/a", Some("/iotpi/"), "/a", known("/iotpi")),
            ("", "/a", Some("/"), "/a", known("")),
            ("", "/a", Some("/a/b-c_d.e~1"), "/a", known("/a/b-c_d.e~1")),
            ("", "/a", Some("//evil.example"), "/a", BasePath(None)),
            ("", "/a", Some("/a/../b"), "/a", BasePath(None)),
            ("", "/a", Some("/a\"><script>"), "/a", BasePath(None)),
            ("", "/a", Some("/a; Domain=evil.example"), "/a", BasePath(None)),
            ("", "/a", Some("iotpi"), "/a", BasePath(None)),
            ("/iotpi", "/iotpi/a?b=c", None, "/a?b=c", known("/iotpi")),
            ("/iotpi", "/iotpi", None, "/", known("/iotpi")),
            ("/iotpi", "/iotpi?b=c", None, "/?b=c", known("/iotpi")),
            ("/iotpi", "/iotpix/a", None, "/iotpix/a", BasePath(None)),
            ("/iotpi", "/a", None, "/a", BasePath(None)),
            ("/iotpi", "http://h/iotpi/a", None, "http://h/a", known("/iotpi")),
        ] {
            assert_eq!(
                stripped(base_path, target, prefix),
                (left.to_owned(), base),
                "{base_path} {target} {prefix:?}"
            );
        }
    }

    #[test]
    fn a_page_finds_the_root_from_where_it_is() {
        let unknown = BasePath(None);
        let below = BasePath(Some("/iotpi".to_owned()));
        let root = BasePath(Some(String::new()));

        for (path, relative) in
            [("/", "."), ("/cameras", "."), ("/modules/led", ".."), ("/modules/led/", "../..")]
        {
            assert_eq!(unknown.root_from(path), relative, "{path}");
            assert_eq!(below.root_from(path), "/iotpi");
            assert_eq!(root.root_from(path), "");
        }
        assert_eq!((unknown.cookie_path(), below.cookie_path(), root.cookie_path()), ("/", "/iotpi", "/"));
    }
}
