//! The bearer token: made where none is given, compared in constant time, and not to be guessed.

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

/// The shortest token, in bytes.
pub(super) const SHORTEST: usize = 16;
/// After this one wrong token of a client is forgotten.
pub(super) const PER_GUESS: Duration = Duration::from_secs(12);
/// Wrong tokens of a client at once.
const GUESSES: u32 = 5;
/// Clients whose wrong tokens are remembered, at most.
const MOST: usize = 16_384;
/// After this one wrong token of anybody is forgotten.
const PER_GUESS_OF_ALL: Duration = Duration::from_millis(60);
/// So many wrong tokens at once, of all clients, are an attack from many addresses.
const MANY: u32 = 500;
/// How long each token takes to be looked at then, the right one too. The number of connections bounds the guesses.
const PAUSE: Duration = Duration::from_secs(1);
/// The least time between two warnings.
const WARNING: Duration = Duration::from_secs(1);

/// The token, and the clients that guess it.
///
/// Only the client that guesses is locked out, never another one: there is no lock that many share. Programs on this machine
/// share its address, as do all clients behind a proxy on it, and clients without a known address share one slot. After
/// wrong tokens from such a slot, and while many clients guess, each token takes a second to be looked at instead: the
/// right one is slower, and gets in. The number of connections bounds the guesses then.
pub(super) struct Token {
    /// The digest alone: digests are of one length, and say nothing in a dump.
    digest: [u8; 32],
    guesses: Mutex<Guesses>,
}

#[derive(Default)]
struct Guesses {
    /// The moment at which the wrong tokens of each client are forgotten. Clients without a known address share `None`.
    clients: HashMap<Option<IpAddr>, Instant>,
    /// The same moment for all clients together.
    all: Option<Instant>,
    warned: Option<Instant>,
}

/// What a token is that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Right,
    Wrong {
        /// Whether to log this one. During an attack only some are logged.
        is_told: bool,
    },
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
        Self { digest: Sha256::digest(token.as_bytes()).into(), guesses: Mutex::default() }
    }

    /// A new one, from the randomness of the operating system. `None` where that has none to give.
    pub(super) fn random() -> Option<String> {
        let mut bytes = [[0_u8; 8]; 3];
        bytes.iter_mut().try_for_each(|bytes| SysRng.try_fill_bytes(bytes)).ok()?;
        let [a, b, c] = bytes.map(u64::from_ne_bytes);
        Some(format!("{a:016x}{b:016x}{c:016x}"))
    }

    /// What the token is, and how long to wait before that is said.
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
        (Shown::Wrong { is_told: guesses.note(client, now) }, pause)
    }
}

/// Whether programs that have nothing to do with each other have this address.
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
        let is_told = self.warned.is_none_or(|last| now.saturating_duration_since(last) >= WARNING);
        if is_told {
            self.warned = Some(now);
        }
        is_told
    }

    /// Makes room: forgets the clients that owe nothing, and if those are few, the half that owes least.
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
    fn five_guesses_from_an_address_lock_it_out_and_no_other() {
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
        // One more guess in 12 s.
        assert!(is_wrong(token.show_at(WRONG, Some(a), now + PER_GUESS).0));
        assert_eq!(token.show_at(RIGHT, Some(a), now + PER_GUESS).0, Shown::Locked);
        assert_eq!(token.show_at(RIGHT, Some(a), now + PER_GUESS * 2).0, Shown::Right);
    }

    // G8
    #[test]
    fn all_addresses_of_the_machine_itself_are_one_client() {
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

    // G8: a slot that many share.
    #[test]
    fn guesses_from_the_machine_itself_slow_down_and_lock_nobody_out() {
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

    // G8
    #[test]
    fn however_many_addresses_guess_a_fresh_one_with_the_right_token_gets_in() {
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
            assert_eq!(
                token.show_at(RIGHT, Some(fresh), now),
                (Shown::Right, PAUSE),
                "slower, but it gets in"
            );
        }
        let latest = Ipv4Addr::from_bits(0x0a00_0000 + many).into();
        assert_eq!(token.show_at(RIGHT, Some(latest), now).0, Shown::Locked, "it guessed itself");
        let later = now + PER_GUESS_OF_ALL * (2 * MANY);
        let fresh = Ipv4Addr::from_bits(0xc0a8_0001).into();
        assert_eq!(token.show_at(RIGHT, Some(fresh), later), (Shown::Right, Duration::ZERO));
    }

    // G8: a slot that many share.
    #[test]
    fn where_no_address_is_known_guesses_slow_down_and_lock_nobody_out() {
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
        let told = (0..10_000).filter(|n| {
            let at = now + Duration::from_millis((*n).into());
            let from = Ipv4Addr::from_bits(0x0a00_0000 + n).into();
            token.show_at(WRONG, Some(from), at).0 == Shown::Wrong { is_told: true }
        });
        assert_eq!(told.count(), 10);
    }

    #[test]
    fn a_token_is_not_shown_and_new_ones_differ() {
        let token = Token::random().unwrap();
        assert_eq!(token.len(), 48);
        assert_ne!(Some(&token), Token::random().as_ref());
        assert!(!format!("{:?}", Token::new(&token)).contains(&token));
    }
}
