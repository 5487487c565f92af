//! Normalization of identities.

use unicode_normalization::UnicodeNormalization;

/// The maximum number of characters of an identity that are compared; real names are shorter.
pub(super) const MAX_CHARS: usize = 1024;

/// Normalizes an identity nearly as `NFKC_Casefold` (Unicode, section 3.13).
///
/// Case is folded through upper case, which also unites letters that have several lower-case forms. The result differs from
/// `NFKC_Casefold` for a few letters that real names do not contain; the mapping is still consistent.
pub(super) fn normalize(identity: &str) -> String {
    let named = identity.trim_matches(|c: char| c.is_whitespace() || is_ignorable(c));
    let visible = named.chars().filter(|c| !is_ignorable(*c)).take(MAX_CHARS);
    let visible: String = visible.collect();
    if visible.is_ascii() {
        // A shortcut with the same result as below.
        return visible.to_ascii_uppercase();
    }
    let visible: String = visible.nfkc().collect();
    visible.trim().to_lowercase().to_uppercase().nfkc().collect()
}

/// Whether a character is invisible: `Default_Ignorable_Code_Point` of Unicode, or a control character.
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        || c.is_control()
}
