//! What is wrong with a body that is not JSON, in terms of what devices and scripts really send.

/// How many bytes of a body are shown.
const SHOWN: usize = 20;

/// The body without a UTF-8 byte order mark, which RFC 8259 (8.1) allows to ignore.
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body)
}

/// Whether it may be JSON: it begins as an object or an array.
pub(super) fn may_be_json(body: &[u8]) -> bool {
    matches!(without_mark(body).trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Why a body is not JSON, and what to send instead.
pub(super) fn describe(body: &[u8], error: &serde_json::Error) -> String {
    let body = without_mark(body);
    if body.trim_ascii().is_empty() {
        return "the body is empty: is `Content-Length` there, and does it count the body's bytes?"
            .to_owned();
    }
    if body.starts_with(&[0x1F, 0x8B]) {
        return "the body is compressed with gzip and does not say so: send `Content-Encoding: gzip`"
            .to_owned();
    }
    if body.starts_with(&[0xFF, 0xFE]) || body.starts_with(&[0xFE, 0xFF]) || body.get(1) == Some(&0) {
        return "the body is UTF-16: JSON is sent as UTF-8".to_owned();
    }
    if let Err(error) = std::str::from_utf8(body) {
        return format!("the body is not UTF-8: byte {} is no part of a character", error.valid_up_to() + 1);
    }
    if error.is_eof() {
        return "the JSON ends too early: is `Content-Length` the number of bytes, and is every bracket closed?"
            .to_owned();
    }
    let at = offset(body, error);
    let rest = &body[at.min(body.len())..];
    let before = &body[..at.min(body.len())];
    match named(before, rest) {
        Some(fault) => fault,
        None if !may_be_json(body) => match form(body) {
            Some(name) => {
                format!("the body is a form (`{name}=...`), not JSON: send {{\"{name}\": ...}} instead")
            }
            None => format!("the body is not JSON: it begins with `{}`", shown(body)),
        },
        None => format!("the body is not JSON: {error}"),
    }
}

/// The faults that have a name: what is before and what is from the place on where the parser stopped.
fn named(before: &[u8], rest: &[u8]) -> Option<String> {
    // The parser stops at or just behind the first byte it cannot read: the word there is looked at as a whole.
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
            Some("JSON has double quotation marks (\"), not single ones (')".to_owned())
        }
        (Some(b','), Some(b'}' | b']')) => {
            Some("there is a comma before the closing bracket: JSON has none there".to_owned())
        }
        (Some(b','), Some(b'0'..=b'9')) if decimal_comma(before) => {
            Some("this looks like a decimal comma: JSON has a decimal point, as in 21.5".to_owned())
        }
        (_, Some(b'/' | b'#')) => Some("JSON has no comments".to_owned()),
        (_, Some(b'+')) | (Some(b'+'), _) => Some("a JSON number has no + in front".to_owned()),
        (Some(b'{' | b','), Some(byte)) if byte.is_ascii_alphabetic() => {
            Some("the names of JSON fields are in double quotation marks (\")".to_owned())
        }
        _ if rest.is_empty() => None,
        _ => None,
    }
}

/// Whether a comma right behind a digit ends this.
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

fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.trim().lines().next().unwrap_or_default().to_owned();
    line.chars().take(SHOWN).filter(|c| !c.is_control()).collect()
}

/// Where the parser stopped, in bytes; its columns count bytes from 1.
fn offset(body: &[u8], error: &serde_json::Error) -> usize {
    let mut lines = body.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines.by_ref().take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    before + error.column().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(body: &[u8]) -> String {
        let error = serde_json::from_slice::<serde_json::Value>(without_mark(body)).unwrap_err();
        describe(body, &error)
    }

    #[test]
    fn a_fault_is_named_with_what_to_send_instead() {
        for (body, said) in [
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
            (r#"{value: 1}"#, "names of JSON fields"),
            (r#"{"value": +5}"#, "no + in front"),
            ("{\"value\": 1} // comment", "no comments"),
            ("module_id=a&value=1", "form (`module_id=...`)"),
            ("value=21.5", "send {\"value\": ...}"),
            ("<xml/>", "begins with `<xml/>`"),
            ("temperature 21.5", "begins with `temperature 21.5`"),
            ("", "the body is empty"),
            (" \r\n", "the body is empty"),
            ("{", "ends too early"),
            (r#"{"module_id": "a", "val"#, "ends too early"),
        ] {
            let text = described(body.as_bytes());

            assert!(text.contains(said), "{body}: {text}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_named_too() {
        assert!(described(&[0x1F, 0x8B, 8, 0]).contains("gzip"));
        assert!(described(b"\xFF\xFE{\0}\0").contains("UTF-16"));
        assert!(described(b"{\0}\0").contains("UTF-16"));
        assert!(described(b"{\"a\": \"\xFC\"}").contains("not UTF-8: byte 8"));
    }

    #[test]
    fn a_byte_order_mark_is_no_fault() {
        assert_eq!(without_mark(b"\xEF\xBB\xBF{}"), b"{}");
        assert!(may_be_json(b"\xEF\xBB\xBF\r\n [1]"));
        assert!(described(b"\xEF\xBB\xBF").contains("the body is empty"));
    }
}
