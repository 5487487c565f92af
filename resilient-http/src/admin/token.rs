//! The bearer token: made where none is given, compared in constant time, and not to be guessed.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rand::TryRng;
use rand::rngs::SysRng;
use resilient::rate_limit::{Config, Rate};
use resilient::{Component, RateLimiter, Registry};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::layer::client_of;

/// The shortest token, in bytes.
pub(super) const SHORTEST: usize = 16;

/// Who knows the token, and who guesses.
pub(super) struct Token {
    /// The digest alone: digests are of one length, and say nothing in a dump.
    digest: [u8; 32],
    /// Wrong tokens, by address. Not of all together: who guesses could then lock everybody out.
    guesses: Arc<RateLimiter>,
}

/// What a request has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Right,
    Wrong,
    /// Too many wrong ones came from there: not even the right one is looked at.
    Locked,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    pub(super) fn new(token: &str) -> Self {
        // A registry of its own: to guess must not show in, or fill up, that of the user.
        let guesses = Registry::new().rate_limiter("guesses");
        let rate: Option<Rate> = "5/min".parse().ok();
        // In range by being written here.
        let _ = guesses.reconfigure(Config::default().rate(rate));
        Self { digest: Sha256::digest(token.as_bytes()).into(), guesses }
    }

    /// A new one, from the randomness of the operating system. `None` where that has none to give.
    pub(super) fn random() -> Option<String> {
        let mut bytes = [[0_u8; 8]; 3];
        bytes.iter_mut().try_for_each(|bytes| SysRng.try_fill_bytes(bytes)).ok()?;
        let [a, b, c] = bytes.map(u64::from_ne_bytes);
        Some(format!("{a:016x}{b:016x}{c:016x}"))
    }

    pub(super) fn show(&self, token: &str, from: Option<IpAddr>) -> Shown {
        let key = from.map(client_of);
        if self.guesses.check_key_weighted(&key, 0).remaining == 0 {
            return Shown::Locked;
        }
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if digest.ct_eq(&self.digest).into() {
            return Shown::Right;
        }
        let _ = self.guesses.check_key(&key);
        Shown::Wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_guesses_from_an_address_lock_it_out_and_no_other() {
        let token = Token::new("0123456789abcdef");
        let (a, b): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        assert_eq!(token.show("0123456789abcdef", Some(a)), Shown::Right);
        for guess in 0..5 {
            let address = format!("2001:db8::{guess}").parse().unwrap();
            assert_eq!(token.show("0123456789abcdeg", Some(address)), Shown::Wrong);
        }
        assert_eq!(token.show("0123456789abcdef", Some(a)), Shown::Locked);
        assert_eq!(token.show("0123456789abcdef", Some(b)), Shown::Right);
    }

    #[test]
    fn a_token_is_not_shown_and_new_ones_differ() {
        let token = Token::random().unwrap();
        assert_eq!(token.len(), 48);
        assert_ne!(Some(&token), Token::random().as_ref());
        assert!(!format!("{:?}", Token::new(&token)).contains(&token));
    }
}
