//! Explains common mistakes of devices and scripts in bodies that are not valid JSON.

/// The most characters of a body that an error contains.
const MAX_EXCERPT_CHARS: usize = 20;

/// Removes a UTF-8 byte order mark, which RFC 8259 (8.1) allows parsers to ignore.
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body)
}

/// Whether the body begins like an object or an array.
pub(super) fn may_be_json(body: &[u8]) -> bool {
    matches!(without_mark(body).trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Explains why a body is not JSON, and what to send instead.
pub(super) fn describe(body: &[u8], error: &serde_json::Error) -> String {
    let body = without_mark(body);
    if body.trim_ascii().is_empty() {
        return "the body is empty: check that `Content-Length` is present and is the number of bytes"
            .to_owned();
    }
    if body.starts_with(&[0x1F, 0x8B]) {
        return "the body is compressed with gzip: send `Content-Encoding: gzip`".to_owned();
    }
    if body.starts_with(&[0xFF, 0xFE]) || body.starts_with(&[0xFE, 0xFF]) || body.get(1) == Some(&0) {
        return "the body is UTF-16: send JSON as UTF-8".to_owned();
    }
    if let Err(error) = std::str::from_utf8(body) {
        return format!(
            "the body is not UTF-8: byte {} is not part of a valid character",
            error.valid_up_to() + 1
        );
    }
    if error.is_eof() {
        return "the JSON ends too early: check that `Content-Length` is the number of bytes and that every bracket is closed"
            .to_owned();
    }
    let at = offset(body, error);
    let rest = &body[at.min(body.len())..];
    let before = &body[..at.min(body.len())];
    match common_mistake(before, rest) {
        Some(fault) => fault,
        None if !may_be_json(body) => match form(body) {
            Some(name) => {
                format!("the body is a form (`{name}=...`), not JSON: send {{\"{name}\": ...}} instead")
            }
            None => format!("the body is not JSON: it begins with `{}`", excerpt(body)),
        },
        None => format!("the body is not JSON: {error}"),
    }
}

/// Recognizes common mistakes from the bytes before and after the position of the parser.
fn common_mistake(before: &[u8], rest: &[u8]) -> Option<String> {
    // The parser stops at or just after the first invalid byte, so the whole word there is examined.
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let back = before.iter().rev().take_while(|byte| is_word(byte)).count();
    let begin = &before[before.len() - back..];
    let word: Vec<u8> = begin.iter().chain(rest.iter().take_while(|byte| is_word(byte))).copied().collect();
    let word = String::from_utf8_lossy(&word).into_owned();
    match word.to_ascii_lowercase().as_str() {
        "nan" | "inf" | "infinity" => {
            return Some(format!("{word} is not JSON: send null, with a `reason`, for a failed measurement"));
        }
        "none" | "nil" | "undefined" => return Some(format!("{word} is not JSON: send null")),
        "true" | "false" if word != word.to_ascii_lowercase() => {
            return Some(format!("{word} is not JSON: send {}", word.to_ascii_lowercase()));
        }
        _ => {}
    }
    let last = before.trim_ascii_end().last().copied();
    let first = rest.trim_ascii_start().first().copied();
    match (last, first) {
        (_, Some(b'\'')) | (Some(b'\''), _) => {
            Some("JSON uses double quotation marks (\"), not single ones (')".to_owned())
        }
        (Some(b','), Some(b'}' | b']')) => {
            Some("JSON does not allow a comma before the closing bracket".to_owned())
        }
        (Some(b','), Some(b'0'..=b'9')) if decimal_comma(before) => {
            Some("this looks like a decimal comma: JSON uses a decimal point, as in 21.5".to_owned())
        }
        (_, Some(b'/' | b'#')) => Some("JSON does not allow comments".to_owned()),
        (_, Some(b'+')) | (Some(b'+'), _) => Some("JSON does not allow + before a number".to_owned()),
        (Some(b'{' | b','), Some(byte)) if byte.is_ascii_alphabetic() => {
            Some("JSON field names need double quotation marks (\")".to_owned())
        }
        _ if rest.is_empty() => None,
        _ => None,
    }
}

/// Whether the text ends with a comma directly after a digit.
fn decimal_comma(before: &[u8]) -> bool {
    matches!(before, [.., b'0'..=b'9', b','])
}

/// The first name of a body that looks like `name=value&...`.
fn form(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (name, _) = text.split_once('=')?;
    let is_name =
        !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_name.then(|| name.to_owned())
}

fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.trim().lines().next().unwrap_or_default().to_owned();
    line.chars().take(MAX_EXCERPT_CHARS).filter(|c| !c.is_control()).collect()
}

/// The byte offset at which the parser stopped. Its columns count bytes from 1.
fn offset(body: &[u8], error: &serde_json::Error) -> usize {
    let mut lines = body.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines.by_ref().take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    before + error.column().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explain(body: &[u8]) -> String {
        let error = serde_json::from_slice::<serde_json::Value>(without_mark(body)).unwrap_err();
        describe(body, &error)
    }

    #[test]
    fn common_mistakes_are_explained_with_a_correction() {
        for (body, expected) in [
            (r#"{"value": NaN}"#, "NaN is not JSON: send null"),
            (r#"{"value":nan}"#, "nan is not JSON: send null"),
            (r#"{"value": Infinity, "a": 1}"#, "Infinity is not JSON: send null"),
            (r#"{"value": -Infinity}"#, "Infinity is not JSON: send null"),
            (r#"{"value": inf}"#, "inf is not JSON: send null"),
            (r#"[{"value": -inf}]"#, "inf is not JSON: send null"),
            ("{\n  \"value\": NaN\n}", "NaN is not JSON: send null"),
            (r#"{"value": None}"#, "None is not JSON: send null"),
            (r#"{"value": undefined}"#, "undefined is not JSON: send null"),
            (r#"{"value": True}"#, "True is not JSON: send true"),
            (r#"{"value": FALSE}"#, "FALSE is not JSON: send false"),
            (r#"{'value': 1}"#, "double quotation marks"),
            (r#"{"unit": 'celsius'}"#, "double quotation marks"),
            (r#"{"value": 1,}"#, "comma before the closing bracket"),
            (r#"[{"value": 1},]"#, "comma before the closing bracket"),
            (r#"{"value": 21,5}"#, "decimal point"),
            (r#"{value: 1}"#, "field names"),
            (r#"{"value": +5}"#, "not allow +"),
            ("{\"value\": 1} // comment", "not allow comments"),
            ("module_id=a&value=1", "form (`module_id=...`)"),
            ("value=21.5", "send {\"value\": ...}"),
            ("<xml/>", "begins with `<xml/>`"),
            ("temperature 21.5", "begins with `temperature 21.5`"),
            ("", "the body is empty"),
            (" \r\n", "the body is empty"),
            ("{", "ends too early"),
            (r#"{"module_id": "a", "val"#, "ends too early"),
        ] {
            let text = explain(body.as_bytes());

            assert!(text.contains(expected), "{body}: {text}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_explained_too() {
        assert!(explain(&[0x1F, 0x8B, 8, 0]).contains("gzip"));
        assert!(explain(b"\xFF\xFE{\0}\0").contains("UTF-16"));
        assert!(explain(b"{\0}\0").contains("UTF-16"));
        assert!(explain(b"{\"a\": \"\xFC\"}").contains("not UTF-8: byte 8"));
    }

    #[test]
    fn a_byte_order_mark_is_ignored() {
        assert_eq!(without_mark(b"\xEF\xBB\xBF{}"), b"{}");
        assert!(may_be_json(b"\xEF\xBB\xBF\r\n [1]"));
        assert!(explain(b"\xEF\xBB\xBF").contains("the body is empty"));
    }
}
