//! Spellings of a unit: different characters for one sign, letter case, plurals, words and codes.
//!
//! A text is normalized first: one spelling per sign (`µ`, `μ` and `u`; `³`, `^3` and `3`; `Ω` and `ohm`; `℃`
//! and `°C`). Then it is looked up as an exact code, as a word in any case and plural, and as a code of two
//! letters or more in any case. `m` and `M` at the front of a code always differ: milli and mega.

use std::{collections::HashMap, sync::LazyLock};

use super::table::{KNOWN, Known};

/// Every spelling of a known unit that needs no normalization: words and codes.
static EXACT: LazyLock<HashMap<&'static str, &'static Known>> = LazyLock::new(|| {
    let codes = |known: &'static Known| known.codes.split(' ').filter(|code| !code.is_empty());
    KNOWN.iter().flat_map(|known| codes(known).chain([known.word]).map(move |text| (text, known))).collect()
});

/// Words and other names, as [`name`] normalizes them.
static NAMES: LazyLock<HashMap<String, &'static Known>> = LazyLock::new(|| {
    let names = |known: &'static Known| known.names.split(' ').filter(|name| !name.is_empty());
    KNOWN
        .iter()
        .flat_map(|known| names(known).chain([known.word]).map(move |text| (name(text), known)))
        .collect()
});

/// Codes of two letters or more, as [`without_case`] normalizes them.
static ANY_CASE: LazyLock<HashMap<String, &'static Known>> = LazyLock::new(|| {
    let codes = |known: &'static Known| known.codes.split(' ').filter(|code| code.chars().count() > 1);
    KNOWN.iter().flat_map(|known| codes(known).map(move |text| (without_case(text), known))).collect()
});

/// The known unit of a normalized text.
pub(super) fn known(folded: &str) -> Option<&'static Known> {
    let any_case = |text: &str| ANY_CASE.get(&without_case(text)).filter(|_| text.chars().count() > 1);
    let found = EXACT.get(folded).or_else(|| NAMES.get(&name(folded))).or_else(|| any_case(folded));
    let found = found.or_else(|| any_case(&folded.replace("_per_", "/")));
    found.or_else(|| any_case(&folded.replace('_', "."))).copied()
}

/// The known unit of a text in the table's own spelling, which is the usual case.
pub(super) fn exact(text: &str) -> Option<&'static Known> {
    EXACT.get(text).copied()
}

/// Normalizes each sign to one spelling: see the module. Spaces inside become `_`, those around `/` are
/// removed.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for sign in text.trim().chars().map(half_width) {
        match sign {
            'µ' | 'μ' => folded.push('u'),
            'Ω' | '\u{2126}' => folded.push_str("ohm"),
            '°' | 'º' | '˚' | '∘' => folded.push('°'),
            '℃' => folded.push_str("°C"),
            '℉' => folded.push_str("°F"),
            '\u{212A}' => folded.push('K'),
            '\u{212B}' => folded.push('Å'),
            '²' => folded.push('2'),
            '³' => folded.push('3'),
            '¹' => folded.push('1'),
            '⁰' | '⁴'..='⁹' => folded.extend(digit(sign, '⁰')),
            '₀'..='₉' => folded.extend(digit(sign, '₀')),
            '⁻' | '−' | '–' | '‐' | '‑' => folded.push('-'),
            '·' | '⋅' | '∙' | '•' | '×' | '*' => folded.push('.'),
            '∕' | '⁄' | '÷' => folded.push('/'),
            '′' | '’' | '‘' => folded.push('\''),
            '″' | '”' | '“' => folded.push('"'),
            '㎡' => folded.push_str("m2"),
            '㎥' => folded.push_str("m3"),
            '㎝' => folded.push_str("cm"),
            '㎜' => folded.push_str("mm"),
            '㎞' => folded.push_str("km"),
            '㎏' => folded.push_str("kg"),
            '㎎' => folded.push_str("mg"),
            '㎍' => folded.push_str("ug"),
            '㎩' => folded.push_str("Pa"),
            '㎪' => folded.push_str("kPa"),
            '㏗' => folded.push_str("pH"),
            // Characters without a width: zero-width spaces and joiners, the byte order mark, variation
            // selectors.
            '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{FEFF}' | '\u{FE0E}' | '\u{FE0F}' => {}
            '^' => {}
            blank if blank.is_whitespace() && !blank.is_control() => folded.push(' '),
            other => folded.push(other),
        }
    }
    let parts: Vec<_> = folded.split('/').map(str::trim).collect();
    let joined = parts.join("/");
    let joined = joined.split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_");
    with_slashes(&joined).unwrap_or(joined)
}

/// `ug.m-3` as `ug/m3`, if the text is a product with a negative power.
fn with_slashes(text: &str) -> Option<String> {
    let (first, rest) = text.split_once(['.', '_'])?;
    let mut written = first.to_owned();
    for factor in rest.split(['.', '_']) {
        let (unit, power) = factor.split_once('-')?;
        let alphabetic = !unit.is_empty() && unit.chars().all(char::is_alphabetic);
        if !alphabetic || !matches!(power, "1" | "2" | "3" | "4") {
            return None;
        }
        written.push('/');
        written.push_str(unit);
        written.push_str(if power == "1" { "" } else { power });
    }
    Some(written)
}

/// The ASCII form of a full-width character.
fn half_width(sign: char) -> char {
    match sign {
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(sign) - 0xFEE0).unwrap_or(sign),
        other => other,
    }
}

fn digit(sign: char, zero: char) -> Option<char> {
    char::from_digit(u32::from(sign).checked_sub(u32::from(zero))?, 10)
}

/// A word without case, separators, plural and the American `er`.
fn name(text: &str) -> String {
    let lower: String = text.chars().filter(|c| !"_-. ".contains(*c)).flat_map(char::to_lowercase).collect();
    let lower =
        lower.replace('/', "per").replace("meter", "metre").replace("liter", "litre").replace("sper", "per");
    let lower = lower.replace("of", "").replace("degrees", "degree");
    lower.strip_suffix('s').filter(|rest| rest.chars().count() > 2).unwrap_or(&lower).to_owned()
}

/// A code without case, except for an `m` or `M` at its front.
fn without_case(text: &str) -> String {
    let front = text.chars().next().filter(|c| *c == 'M');
    front
        .into_iter()
        .chain(text.chars().skip(usize::from(front.is_some())).flat_map(char::to_lowercase))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn no_spelling_has_two_units() {
        let mut seen: HashMap<String, &str> = HashMap::new();
        for known in KNOWN {
            let codes = known.codes.split(' ').filter(|code| !code.is_empty());
            let names = known.names.split(' ').chain([known.word]).filter(|name| !name.is_empty());
            let names = names.flat_map(|text| [text.to_owned(), name(text)]);
            for text in codes.map(str::to_owned).chain(names) {
                let other = *seen.entry(text.clone()).or_insert(known.word);

                assert_eq!(other, known.word, "{text}");
            }
        }
    }

    #[test]
    fn a_code_has_one_unit_in_any_letter_case() {
        let mut seen: HashMap<String, &str> = HashMap::new();
        for known in KNOWN {
            for code in known.codes.split(' ').filter(|code| code.chars().count() > 1) {
                let other = *seen.entry(without_case(code)).or_insert(known.word);

                assert_eq!(other, known.word, "{code}");
            }
        }
    }

    #[test]
    fn codes_are_in_the_table_in_folded_case() {
        for code in KNOWN.iter().flat_map(|known| known.codes.split(' ')) {
            assert_eq!(fold(code), code);
        }
    }
}
