//! Validates and normalizes the names of components.

use std::sync::Arc;

use crate::fnv1a::fnv1a;

/// Maximum length of a name, in bytes.
const LONGEST: usize = 128;

/// Whether `name` is valid: not blank, short enough, without control characters.
pub(crate) fn is_normal(name: &str) -> bool {
    !name.trim().is_empty() && name.len() <= LONGEST && !name.contains(char::is_control)
}

/// Returns `name` if it is valid, and otherwise a valid name derived from it that is unique to it.
pub(crate) fn normal(name: &str) -> Arc<str> {
    if is_normal(name) {
        return name.into();
    }
    if name.trim().is_empty() {
        return "(empty)".into();
    }
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut shown = String::new();
    for c in name.chars().map(printable) {
        // Leaves room for `~` and 16 digits.
        if shown.len() + c.len_utf8() > LONGEST - 17 {
            break;
        }
        shown.push(c);
    }
    format!("{shown}~{:016x}", fnv1a(name)).into()
}

/// Whether [`normal`] derived `name` from an invalid name.
pub(crate) fn is_changed(name: &str) -> bool {
    let checksum = name.rsplit_once('~').map(|(_, sum)| sum);
    name == "(empty)"
        || checksum.is_some_and(|sum| sum.len() == 16 && sum.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_names_become_valid_and_stay_distinct() {
        assert_eq!(&*normal("payment"), "payment");
        assert_eq!(&*normal(" \t"), "(empty)");
        let (a, b) = (normal(&"x".repeat(10_000)), normal(&"x".repeat(10_001)));
        assert_ne!(a, b);
        for name in [a, b, normal("line\nbreak"), normal(&"\u{1f600}".repeat(100))] {
            assert!(is_normal(&name), "{name}");
        }
    }
}
