//! One spelling of an identity.

use unicode_normalization::UnicodeNormalization;

/// The characters of an identity that are looked at; names are shorter.
pub(super) const LONGEST: usize = 1024;

/// As `NFKC_Casefold` (Unicode, 3.13) does it; case is folded by way of upper case, which also unites what has several lower
/// cases. That differs for a few letters of no living name, and always in one way.
pub(super) fn normalize(identity: &str) -> String {
    let named = identity.trim_matches(|c: char| c.is_whitespace() || is_ignorable(c));
    let visible = named.chars().filter(|c| !is_ignorable(*c)).take(LONGEST);
    let visible: String = visible.collect();
    if visible.is_ascii() {
        // Which comes to the same.
        return visible.to_ascii_uppercase();
    }
    let visible: String = visible.nfkc().collect();
    visible.trim().to_lowercase().to_uppercase().nfkc().collect()
}

/// What has no form of its own: `Default_Ignorable_Code_Point` of Unicode, and control characters.
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        || c.is_control()
}
