//! Requests that come through a proxy: who sent them, and below which path the hub is for them.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::extract::FromRequestParts;
use http::{Extensions, HeaderMap, HeaderName, Request, Uri, header, request::Parts, uri::PathAndQuery};
use ipnet::IpNet;

use crate::{
    Hub,
    admission::ConnectionPermit,
    config::HttpConfig,
    error::{HubError, Result},
};

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
static REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// The most characters of a path below which the hub is.
pub(crate) const MAX_BASE_CHARS: usize = 200;

/// Where a request was sent from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    /// The sender's address, as far as it is known: else that of the nearest proxy.
    pub(crate) address: IpAddr,
    /// Whether it is the sender's. It is not when a proxy that is not trusted says it passed the request on, or a trusted one says
    /// something that is no address.
    pub(crate) is_certain: bool,
}

impl Client {
    /// The sender of a request that came from this peer: the peer, unless that is one of `trusted`, whose `X-Forwarded-For` is then
    /// read from its end, where the nearest proxy wrote, up to the first address that is not trusted.
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
    /// Whether an address is that of a proxy whose headers are believed.
    pub(crate) fn is_trusted(trusted: &[IpNet], address: IpAddr) -> bool {
        trusted.iter().any(|network| network.contains(&address.to_canonical()))
    }
}

/// An address as proxies write it: with or without a port, IPv6 with or without brackets.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

/// The path below which the hub is for whoever sent a request, if that is known: empty, or `/iotpi`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BasePath(Option<String>);

impl BasePath {
    /// Takes `http.base_path` from the front of the request's path, for a proxy that leaves it there, and notes below which path the hub
    /// is: that one, or what a proxy that took it away says in `X-Forwarded-Prefix`. Nothing but links and the cookie's path depend on
    /// the header, so it is read from anyone.
    pub(crate) fn strip<B>(http: &HttpConfig, mut request: Request<B>) -> Request<B> {
        let base = match without(request.uri(), &http.base_path) {
            Some(uri) => {
                *request.uri_mut() = uri;
                Some(http.base_path.clone())
            }
            None => forwarded_prefix(request.headers()),
        };
        if base.is_some() {
            request.extensions_mut().insert(Self(base));
        }
        request
    }

    /// The `Path` of a cookie that only this hub is to get.
    pub(crate) fn cookie_path(&self) -> &str {
        self.0.as_deref().filter(|base| !base.is_empty()).unwrap_or("/")
    }

    /// How a page at this path of the hub refers to the hub's root: without a slash at the end, absolute when the base is known, else
    /// relative, which is right below any path that a proxy took away.
    #[cfg_attr(not(feature = "dashboard"), allow(dead_code))] // Only the page is written for a path.
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

/// The connection of a request; put there by the accept loop.
pub(crate) fn connection(extensions: &Extensions) -> Result<&Arc<ConnectionPermit>> {
    extensions.get().ok_or_else(|| HubError::internal("a request came from nowhere"))
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

/// Whether the hub may be below that path: some segments of unreserved characters (RFC 3986, 2.3), each after a slash.
pub(crate) fn is_base(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_segment = |segment: &str| {
        !segment.is_empty() && segment.bytes().all(is_plain) && !segment.bytes().all(|byte| byte == b'.')
    };
    path.len() <= MAX_BASE_CHARS && path.strip_prefix('/').is_some_and(|path| path.split('/').all(is_segment))
}

fn forwarded_prefix(headers: &HeaderMap) -> Option<String> {
    let said = headers.get(&FORWARDED_PREFIX)?.to_str().ok()?.trim().trim_end_matches('/');
    (said.is_empty() || is_base(said)).then(|| said.to_owned())
}

/// The target without that path in front, if it is there.
fn without(uri: &Uri, base: &str) -> Option<Uri> {
    if base.is_empty() {
        return None;
    }
    let target = uri.path_and_query()?.as_str().strip_prefix(base)?;
    let target = match target.as_bytes().first() {
        Some(b'/') => target.to_owned(),
        None | Some(b'?') => format!("/{target}"),
        // Another path that begins alike.
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
    fn the_sender_is_the_nearest_address_that_is_no_trusted_proxy() {
        for (peer, forwarded, address, is_certain) in [
            ("192.0.2.9", &[][..], "192.0.2.9", true),
            ("::ffff:192.0.2.9", &[], "192.0.2.9", true),
            ("127.0.0.1", &[], "127.0.0.1", true),
            ("127.0.0.1", &["203.0.113.5"], "203.0.113.5", true),
            // What the sender wrote itself stands further left.
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
            // A peer that is not trusted says what it likes.
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
    fn the_base_is_what_is_set_or_what_the_proxy_says() {
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
