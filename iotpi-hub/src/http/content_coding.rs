//! Content negotiation of compressed bodies: `Accept-Encoding` (RFC 9110, section 12.5.3).

use http::{HeaderMap, header};

/// A content coding in which a body is available. Variants are ordered by size, which decides between equal
/// weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentCoding {
    /// Brotli (RFC 7932).
    Brotli,
    /// gzip (RFC 1952).
    Gzip,
}

impl ContentCoding {
    /// All codings, the preferred one first.
    pub(super) const ALL: [Self; 2] = [Self::Brotli, Self::Gzip];

    /// The name in `Accept-Encoding` and `Content-Encoding`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The suffix of files in this coding.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
        }
    }

    fn is_named(self, name: &str) -> bool {
        // `x-gzip` is an alias (RFC 9110, section 8.4.1.3).
        name.eq_ignore_ascii_case(self.name()) || (self == Self::Gzip && name.eq_ignore_ascii_case("x-gzip"))
    }
}

/// The codings that the client accepts with at least the weight of the plain body, the preferred one first.
/// Without `Accept-Encoding` there are none.
pub(super) fn accepted(headers: &HeaderMap) -> Vec<ContentCoding> {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    let weights: Vec<_> = lines.flat_map(|line| line.split(',')).filter_map(weighted).collect();
    let of = |is_named: &dyn Fn(&str) -> bool| {
        let named = weights.iter().find(|(name, _)| is_named(name));
        named.or_else(|| weights.iter().find(|(name, _)| *name == "*")).map(|(_, weight)| *weight)
    };
    // The plain body is always acceptable. It has a weight only if `identity` is listed.
    let plain = weights.iter().find(|(name, _)| name.eq_ignore_ascii_case("identity"));
    let plain = plain.map_or(0, |(_, weight)| *weight);
    let mut accepted: Vec<_> = ContentCoding::ALL
        .into_iter()
        .filter_map(|coding| Some((coding, of(&|name| coding.is_named(name))?)))
        .filter(|(_, weight)| *weight > 0 && *weight >= plain)
        .collect();
    // The sort is stable: between equal weights the smaller body comes first.
    accepted.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    accepted.into_iter().map(|(coding, _)| coding).collect()
}

/// Parses a name with its weight in thousandths; the default is 1,000. An invalid weight returns nothing.
fn weighted(item: &str) -> Option<(&str, u16)> {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let Some(weight) = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
    else {
        return Some((name, 1000));
    };
    let weight: f32 = weight.trim().parse().ok()?;
    // 0 to 1,000 fits into u16.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (0.0..=1.0).contains(&weight).then(|| (name, (weight * 1000.0).round() as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Vec<&'static str> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::ACCEPT_ENCODING, line.parse().unwrap());
        }
        accepted(&headers).into_iter().map(ContentCoding::name).collect()
    }

    #[test]
    fn the_highest_weight_wins_and_between_equal_ones_the_smaller_body() {
        for (line, expected) in [
            ("gzip, deflate, br, zstd", &["br", "gzip"][..]),
            ("gzip", &["gzip"]),
            ("x-gzip", &["gzip"]),
            ("BR", &["br"]),
            ("gzip;q=1.0, br;q=0.5", &["gzip", "br"]),
            ("br ; q=0.001", &["br"]),
            ("*", &["br", "gzip"]),
            ("*;q=0.5, gzip;q=0.8", &["gzip", "br"]),
            ("br;q=0, *", &["gzip"]),
            ("gzip;Q=0.7", &["gzip"]),
        ] {
            assert_eq!(of(&[line]), expected, "{line}");
        }
    }

    #[test]
    fn the_plain_body_is_sent_to_clients_that_prefer_it_or_accept_nothing_else() {
        for line in
            ["", "identity", "br;q=0", "*;q=0", "identity, gzip;q=0.5", "deflate, zstd", "gzip;q=0.000"]
        {
            assert_eq!(of(&[line]), Vec::<&str>::new(), "{line}");
        }
        assert_eq!(of(&[]), Vec::<&str>::new());
        assert_eq!(of(&["identity;q=0.5, gzip"]), ["gzip"]);
    }

    #[test]
    fn several_lines_are_one_list_and_malformed_weights_are_ignored() {
        assert_eq!(of(&["gzip;q=0.5", "br;q=0.9"]), ["br", "gzip"]);
        for line in ["br;q=2", "br;q=-1", "br;q=x", "br;q=NaN", ";q=1", ",,"] {
            assert_eq!(of(&[line]), Vec::<&str>::new(), "{line}");
        }
    }
}
