//! The admin token in memory.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A token. It is never printed: `Debug` hides it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Removes the space around the token, such as the newline at the end of a file.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The value of the header `Authorization`.
    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a header can contain the token.
    pub(crate) fn is_sendable(&self) -> bool {
        self.0.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::new(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_token() {
        let secret = Secret::new("  a-token-of-24-characters\n");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(secret.header(), "Bearer a-token-of-24-characters");
    }

    #[test]
    fn a_token_that_would_split_the_header_is_not_sendable() {
        assert!(Secret::new("visible ASCII").is_sendable());
        assert!(!Secret::new("line\r\nbreak").is_sendable() && !Secret::new("schlüssel").is_sendable());
    }
}
