//! Text of a service on a terminal: without control characters, and with a known width.
//!
//! Names, error texts and correlation ids come from outside. A terminal must not execute the escape sequences in them,
//! and characters that change the direction of the text must not reorder the line.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Whether a terminal could act on this character, or show the rest of the line in another order.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Direction marks, embeddings, overrides and isolates; line and paragraph separators.
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Invisible characters, and tags. The joiners (U+200C, U+200D) stay, because words need them.
            | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// Replaces the characters that a terminal could act on with `�`.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if text.contains(is_unsafe) {
        text.chars().map(|c| if is_unsafe(c) { '\u{fffd}' } else { c }).collect::<String>().into()
    } else {
        text.into()
    }
}

/// Number of columns on a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// Makes the text safe, and shortens it to `most` columns. The end is replaced with `…`.
pub(crate) fn fitted(text: &str, most: usize) -> String {
    // Bounds the work for a text of megabytes.
    let start: String = text.chars().take(most.saturating_mul(4).saturating_add(1)).collect();
    let shown = safe(&start);
    if start.len() == text.len() && width(&shown) <= most {
        return shown.into_owned();
    }
    let mut short = String::new();
    let mut left = most.saturating_sub(1);
    for c in shown.chars() {
        let columns = c.width().unwrap_or(0);
        if columns > left {
            break;
        }
        left -= columns;
        short.push(c);
    }
    if most > 0 {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_direction_overrides_lose_their_effect() {
        assert_eq!(safe("red \u{1b}[31m"), "red \u{fffd}[31m");
        assert_eq!(safe("a\u{9b}2J\u{7}\u{7f}"), "a\u{fffd}2J\u{fffd}\u{fffd}");
        assert_eq!(safe("\u{202e}live\nline"), "\u{fffd}live\u{fffd}line");
        assert_eq!(safe("دفع payment 支付"), "دفع payment 支付", "letters of every script stay");
    }

    #[test]
    fn a_text_is_shortened_to_columns_and_not_to_bytes() {
        assert_eq!(fitted("payment", 7), "payment");
        assert_eq!(fitted("payment", 4), "pay…");
        assert_eq!(fitted("支付支付", 5), "支付…");
        assert_eq!(fitted("支付支付", 4), "支…");
        assert_eq!(fitted("ab", 0), "");
        assert_eq!(width(&fitted(&"x".repeat(10_000_000), 20)), 20);
        assert_eq!(
            fitted(&"\u{301}".repeat(100), 3).chars().last(),
            Some('…'),
            "marks without a width are bounded"
        );
    }
}
