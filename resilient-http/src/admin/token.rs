//! Bearer token of the admin API: generation, constant-time comparison and a limit on guesses.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::layer::client_of;

/// Minimum length of a token, in bytes.
pub(super) const SHORTEST: usize = 16;
/// Time until one wrong token of a client expires.
pub(super) const PER_GUESS: Duration = Duration::from_secs(12);
/// Number of wrong tokens that lock a client out.
const GUESSES: u32 = 5;
/// Maximum number of tracked clients.
const MOST: usize = 16_384;
/// Time until one wrong token expires, counted over all clients.
const PER_GUESS_OF_ALL: Duration = Duration::from_millis(60);
/// Number of wrong tokens of all clients that counts as an attack from many addresses.
const MANY: u32 = 500;
/// Delay of each check during an attack, also for the right token. The number of connections bounds the guess rate.
const PAUSE: Duration = Duration::from_secs(1);
/// Minimum time between two warnings.
const WARNING: Duration = Duration::from_secs(1);

/// The token and the clients that sent wrong tokens.
///
/// A lockout affects only the client that guesses. Some slots are shared: all programs on this machine and all clients
/// of a local proxy have the loopback address, and clients without a known address share one slot. A shared slot is
/// never locked. Instead, each check takes a second after wrong tokens from that slot, and while many clients guess.
/// The right token is still accepted, and the number of connections bounds the guess rate.
pub(super) struct Token {
    /// Only the digest is stored: digests have equal lengths and do not reveal the token in a memory dump.
    digest: [u8; 32],
    guesses: Mutex<Guesses>,
}

#[derive(Default)]
struct Guesses {
    /// When the wrong tokens of each client expire. Clients without a known address share `None`.
    clients: HashMap<Option<IpAddr>, Instant>,
    /// When the wrong tokens of all clients expire.
    all: Option<Instant>,
    warned: Option<Instant>,
}

/// Result of a token check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Right,
    Wrong {
        /// Whether to log this attempt. During an attack only some attempts are logged.
        should_log: bool,
    },
    /// The client sent too many wrong tokens, so that the token was not checked.
    Locked,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    pub(super) fn new(token: &str) -> Self {
        Self { digest: Sha256::digest(token.as_bytes()).into(), guesses: Mutex::default() }
    }

    /// Generates a random token. Returns `None` if the operating system provides no randomness.
    pub(super) fn random() -> Option<String> {
        let mut bytes = [[0_u8; 8]; 3];
        bytes.iter_mut().try_for_each(|bytes| SysRng.try_fill_bytes(bytes)).ok()?;
        let [a, b, c] = bytes.map(u64::from_ne_bytes);
        Some(format!("{a:016x}{b:016x}{c:016x}"))
    }

    /// Checks a token. Returns the result and how long to wait before responding.
    pub(super) fn show(&self, token: &str, from: Option<IpAddr>) -> (Shown, Duration) {
        self.show_at(token, from, Instant::now())
    }

    fn show_at(&self, token: &str, from: Option<IpAddr>, now: Instant) -> (Shown, Duration) {
        let client = from.map(client_of);
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        let is_guesser = guesses.owed(client, now) > PER_GUESS * (GUESSES - 1);
        if is_guesser && client.is_some_and(|client| !is_shared(client)) {
            return (Shown::Locked, Duration::ZERO);
        }
        let is_attack = guesses.owed_by_all(now) > PER_GUESS_OF_ALL * (MANY - 1);
        let pause = if is_guesser || is_attack { PAUSE } else { Duration::ZERO };
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if digest.ct_eq(&self.digest).into() {
            return (Shown::Right, pause);
        }
        (Shown::Wrong { should_log: guesses.note(client, now) }, pause)
    }
}

/// Whether unrelated programs share this address.
fn is_shared(client: IpAddr) -> bool {
    client.to_canonical().is_loopback()
}

impl Guesses {
    fn owed(&self, client: Option<IpAddr>, now: Instant) -> Duration {
        self.clients.get(&client).map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    fn owed_by_all(&self, now: Instant) -> Duration {
        self.all.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Counts a wrong token. Returns whether to log it.
    fn note(&mut self, client: Option<IpAddr>, now: Instant) -> bool {
        if self.clients.len() >= MOST && !self.clients.contains_key(&client) {
            self.forget(now);
        }
        let owed = (self.owed(client, now) + PER_GUESS).min(PER_GUESS * GUESSES);
        self.clients.insert(client, now + owed);
        let owed = (self.owed_by_all(now) + PER_GUESS_OF_ALL).min(PER_GUESS_OF_ALL * (2 * MANY));
        self.all = Some(now + owed);
        let should_log = self.warned.is_none_or(|last| now.saturating_duration_since(last) >= WARNING);
        if should_log {
            self.warned = Some(now);
        }
        should_log
    }

    /// Makes room: removes the clients with only expired guesses and, if too few are removed, the half that expires
    /// first.
    fn forget(&mut self, now: Instant) {
        self.clients.retain(|_, until| *until > now);
        if self.clients.len() > MOST / 2 {
            let mut owed: Vec<Instant> = self.clients.values().copied().collect();
            let middle = owed.len() / 2;
            let (_, middle, _) = owed.select_nth_unstable(middle);
            let middle = *middle;
            self.clients.retain(|_, until| *until > middle);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const RIGHT: &str = "0123456789abcdef";
    const WRONG: &str = "0123456789abcdeg";

    fn is_wrong(shown: Shown) -> bool {
        matches!(shown, Shown::Wrong { .. })
    }

    #[test]
    fn five_guesses_from_an_address_lock_out_only_that_address() {
        let token = Token::new(RIGHT);
        let (a, b): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let now = Instant::now();
        assert_eq!(token.show_at(RIGHT, Some(a), now).0, Shown::Right);
        for guess in 0..5 {
            let address = format!("2001:db8::{guess}").parse().unwrap();
            assert!(is_wrong(token.show_at(WRONG, Some(address), now).0));
        }
        assert_eq!(token.show_at(RIGHT, Some(a), now), (Shown::Locked, Duration::ZERO));
        assert_eq!(token.show_at(RIGHT, Some(b), now), (Shown::Right, Duration::ZERO));
        // One more guess is allowed every 12 s.
        assert!(is_wrong(token.show_at(WRONG, Some(a), now + PER_GUESS).0));
        assert_eq!(token.show_at(RIGHT, Some(a), now + PER_GUESS).0, Shown::Locked);
        assert_eq!(token.show_at(RIGHT, Some(a), now + PER_GUESS * 2).0, Shown::Right);
    }

    #[test]
    fn all_loopback_addresses_are_one_client() {
        let token = Token::new(RIGHT);
        let now = Instant::now();
        let guesses = (0..3000).map(|n: u32| match n % 3 {
            0 => IpAddr::from(Ipv4Addr::from_bits(0x7f00_0001 + n)),
            1 => "::1".parse().unwrap(),
            _ => Ipv4Addr::from_bits(0x7f00_0001 + n).to_ipv6_mapped().into(),
        });
        let paused = guesses.filter(|from| token.show_at(WRONG, Some(*from), now).1 == PAUSE).count();
        assert_eq!(paused, 2995, "all but the first five");
    }

    // The loopback address is a slot that many clients share.
    #[test]
    fn guesses_from_loopback_slow_down_checks_and_lock_no_client_out() {
        let token = Token::new(RIGHT);
        let now = Instant::now();
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        for _ in 0..5 {
            assert_eq!(token.show_at(WRONG, Some(local), now).1, Duration::ZERO);
        }
        assert_eq!(token.show_at(RIGHT, Some(local), now), (Shown::Right, PAUSE));
        assert_eq!(token.show_at(RIGHT, Some("::1".parse().unwrap()), now), (Shown::Right, PAUSE));
        for _ in 0..1000 {
            assert_eq!(token.show_at(WRONG, Some(local), now).1, PAUSE);
        }
        assert_eq!(token.show_at(RIGHT, Some(local), now), (Shown::Right, PAUSE));
        assert_eq!(token.show_at(RIGHT, Some(local), now + PER_GUESS * 5), (Shown::Right, Duration::ZERO));
    }

    #[test]
    fn a_new_address_with_the_right_token_is_admitted_however_many_addresses_guess() {
        let token = Token::new(RIGHT);
        let now = Instant::now();
        let many = u32::try_from(MOST).unwrap() * 2;
        for n in (0..many).chain([many; 5]) {
            let from = Ipv4Addr::from_bits(0x0a00_0000 + n).into();
            assert!(is_wrong(token.show_at(WRONG, Some(from), now).0));
        }
        assert!(token.guesses.lock().unwrap().clients.len() <= MOST);
        for n in 0..1000 {
            let fresh = Ipv4Addr::from_bits(0xc000_0000 + n).into();
            assert_eq!(token.show_at(RIGHT, Some(fresh), now), (Shown::Right, PAUSE), "delayed but admitted");
        }
        let latest = Ipv4Addr::from_bits(0x0a00_0000 + many).into();
        assert_eq!(token.show_at(RIGHT, Some(latest), now).0, Shown::Locked, "this address guessed");
        let later = now + PER_GUESS_OF_ALL * (2 * MANY);
        let fresh = Ipv4Addr::from_bits(0xc0a8_0001).into();
        assert_eq!(token.show_at(RIGHT, Some(fresh), later), (Shown::Right, Duration::ZERO));
    }

    // Clients without a known address share one slot.
    #[test]
    fn guesses_without_a_known_address_slow_down_checks_and_lock_no_client_out() {
        let token = Token::new(RIGHT);
        let now = Instant::now();
        for _ in 0..5 {
            assert!(is_wrong(token.show_at(WRONG, None, now).0));
        }
        assert_eq!(token.show_at(RIGHT, None, now), (Shown::Right, PAUSE));
    }

    #[test]
    fn an_attack_is_logged_once_a_second() {
        let token = Token::new(RIGHT);
        let now = Instant::now();
        let logged = (0..10_000).filter(|n| {
            let at = now + Duration::from_millis((*n).into());
            let from = Ipv4Addr::from_bits(0x0a00_0000 + n).into();
            token.show_at(WRONG, Some(from), at).0 == Shown::Wrong { should_log: true }
        });
        assert_eq!(logged.count(), 10);
    }

    #[test]
    fn debug_output_hides_the_token_and_random_tokens_differ() {
        let token = Token::random().unwrap();
        assert_eq!(token.len(), 48);
        assert_ne!(Some(&token), Token::random().as_ref());
        assert!(!format!("{:?}", Token::new(&token)).contains(&token));
    }
}
