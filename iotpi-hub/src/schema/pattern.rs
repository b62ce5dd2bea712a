//! The cost of a pattern, estimated from its syntax before anything is compiled.
//!
//! A pattern of a dozen characters can compile to megabytes: `[\w\pL]{60}`. The estimate follows the syntax
//! tree, whose size is bounded by the pattern's length. It is an upper bound of the states of the compiled
//! automaton; a test compares them.

use regex_syntax::ast::{Ast, ClassSet, ClassSetItem, RepetitionKind, RepetitionRange, parse::ParserBuilder};

/// The maximum nesting of groups.
const MAX_NESTING: u32 = 16;
/// `.`, or a negation of a few characters: sequences of up to four bytes.
const ANY_CHARACTER: u64 = 32;
/// A Unicode class: `\pL` alone has 650 ranges.
const UNICODE_CLASS: u64 = 4_000;
/// A range beyond ASCII: up to ten sequences of up to four bytes.
const WIDE_RANGE: u64 = 40;
/// The cost of each pattern besides its states.
const PATTERN: u64 = 128;

/// The maximum number of states that a pattern compiles to, or the reason why it is invalid.
pub(super) fn states(pattern: &str) -> Result<u64, String> {
    let unsupported =
        || "this pattern is not supported: look-around and back-references are not accepted".to_owned();
    let translated =
        jsonschema_regex::to_rust_regex(pattern).map_err(|()| "this is not a pattern".to_owned())?;
    let mut parser = ParserBuilder::new().nest_limit(MAX_NESTING).build();
    let ast = parser.parse(&translated).map_err(|_| unsupported())?;
    Ok(of(&ast)?.saturating_add(PATTERN))
}

fn of(ast: &Ast) -> Result<u64, String> {
    Ok(match ast {
        Ast::Empty(_) | Ast::Assertion(_) => 1,
        Ast::Flags(_) => return Err("flags in a pattern are not accepted".to_owned()),
        Ast::Literal(literal) => literal.c.len_utf8() as u64,
        Ast::Dot(_) => ANY_CHARACTER,
        Ast::ClassUnicode(_) | Ast::ClassPerl(_) => UNICODE_CLASS,
        Ast::ClassBracketed(class) => {
            let set = of_set(&class.kind);
            if class.negated { set.saturating_add(ANY_CHARACTER) } else { set }
        }
        Ast::Repetition(repetition) => {
            let times = match repetition.op.kind {
                RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore => 1,
                RepetitionKind::OneOrMore => 2,
                RepetitionKind::Range(RepetitionRange::Exactly(n) | RepetitionRange::Bounded(_, n)) => n,
                RepetitionKind::Range(RepetitionRange::AtLeast(n)) => n.saturating_add(1),
            };
            // The repetition of an empty pattern has a cost, too.
            of(&repetition.ast)?.saturating_add(1).saturating_mul(u64::from(times.max(1)))
        }
        Ast::Group(group) => {
            if group.flags().is_some_and(|flags| !flags.items.is_empty()) {
                return Err("flags in a pattern are not accepted".to_owned());
            }
            of(&group.ast)?.saturating_add(2)
        }
        Ast::Alternation(alternation) => sum(&alternation.asts)?,
        Ast::Concat(concat) => sum(&concat.asts)?,
    })
}

fn sum(parts: &[Ast]) -> Result<u64, String> {
    parts.iter().try_fold(1u64, |total, part| Ok(total.saturating_add(of(part)?)))
}

fn of_set(set: &ClassSet) -> u64 {
    match set {
        ClassSet::Item(item) => of_item(item),
        ClassSet::BinaryOp(op) => {
            of_set(&op.lhs).saturating_add(of_set(&op.rhs)).saturating_add(ANY_CHARACTER)
        }
    }
}

fn of_item(item: &ClassSetItem) -> u64 {
    match item {
        ClassSetItem::Empty(_) => 1,
        ClassSetItem::Literal(literal) => literal.c.len_utf8() as u64,
        ClassSetItem::Range(range) if range.end.c.is_ascii() => 1,
        ClassSetItem::Range(_) => WIDE_RANGE,
        ClassSetItem::Ascii(_) => ANY_CHARACTER,
        ClassSetItem::Unicode(_) | ClassSetItem::Perl(_) => UNICODE_CLASS,
        ClassSetItem::Bracketed(class) => {
            let set = of_set(&class.kind);
            if class.negated { set.saturating_add(ANY_CHARACTER) } else { set }
        }
        ClassSetItem::Union(union) => union.items.iter().map(of_item).fold(0, u64::saturating_add),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The maximum number of bytes of a state, in the forward and in the reverse automaton.
    const STATE_BYTES: u64 = 64;

    #[test]
    fn the_estimate_is_an_upper_bound_of_what_a_pattern_compiles_to() {
        for pattern in [
            "",
            "a",
            "^[a-z0-9_-]{1,64}$",
            r"^\d{4}-\d{2}-\d{2}T(\d{2}:){2}\d{2}Z$",
            r"\w+@\w+\.\w+",
            r"\W\D\S",
            r"[^a-f]{10}",
            r"\p{L}",
            r"\P{Lu}{2}",
            r"[\w\pL]{3}",
            r"[^\p{Greek}]",
            r"[ä-ü€-₿]{20}",
            r"[^ä-ü]{20}",
            ".{100}",
            "(a|bc|d(e|f){3}){4,9}",
            r"(?:äöü)+",
            r"^(\p{L}|\p{N}){1,2}$",
            r"[[:^alpha:]]",
            r"[\p{L}&&[^a-z]]",
            r"\bword\b",
            "(((a{3}){3}){3}){3}",
            "(){1000}",
        ] {
            let states = states(pattern).unwrap();

            let translated = jsonschema_regex::to_rust_regex(pattern).unwrap();
            let limit = usize::try_from(states * STATE_BYTES).unwrap();
            let built = regex::RegexBuilder::new(&translated).size_limit(limit).build();
            assert!(built.is_ok(), "{pattern}: {states}");
        }
    }

    #[test]
    fn a_pattern_that_needs_more_than_linear_time_is_refused() {
        for pattern in ["(a)\\1", "(?=a)b", "(?<!a)b", "(?i)a", "(?i:a)", "(", "[z-a]", "a{2,1}"] {
            assert!(states(pattern).is_err(), "{pattern}");
        }
        assert!(states(&"(".repeat(40)).is_err());
        assert!(states(&format!("{}a{}", "(".repeat(40), ")".repeat(40))).is_err());
    }

    #[test]
    fn repetitions_multiply() {
        assert!(states(r"[\w\pL]{60}").unwrap() > 60 * UNICODE_CLASS);
        assert!(states("((((a{999}){999}){999}){999}){999}").unwrap() > 999_u64.pow(5));
        assert_eq!(states(&format!("{}a{}", "(".repeat(7), "){999}".repeat(7))).unwrap(), u64::MAX);
    }
}
