//! Sessions: a client sees its own writes, and never goes back to an older value.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use resilient_runtime::store::{ReplicaKey, ReplicaRecord, ReplicaVersion};

use super::error::{Problem, ReplicaError};
use super::{Accepted, LastWriteWins, Merging, Read, ReplicaSet, Resolver, Value};
use crate::resolve::{Actor, Merge, MergeError, fnv1a};

/// The number of keys that a session remembers.
const KEYS: usize = 16;

/// The versions that a client has seen. With them, it can read at any instance and at [`Level::One`](super::Level::One), and still sees its
/// own writes (*read your writes*) and never an older value than before (*monotonic reads*).
///
/// It remembers the 16 keys that were used last. Reads of other keys are as without a session. Its text is the value of the
/// header `Resilient-Session`, at most 1100 bytes: send it with each response, and read it from each request.
///
/// A client can change the text. It can only make its own reads fail by that.
///
/// # Source
/// D. B. Terry et al., *Session Guarantees for Weakly Consistent Replicated Data*, PDIS 1994.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use resilient_replica::{Level, MemoryReplica, ReplicaSet, Session, resolve::{Actor, HybridClock}};
/// use resilient_runtime::Registry;
///
/// let registry = Registry::new();
/// for name in ["a", "b", "c"] {
///     registry.use_store(name, MemoryReplica::new());
/// }
/// let names = ReplicaSet::<String>::builder("names", HybridClock::new(Actor::named("orders-0")));
/// let names = names.member("a").member("b").member("c").build(&registry)?;
///
/// let mut session = Session::new();
/// names.write_in(&mut session, "user 7", &"Ada".to_owned()).await?;
/// let header = session.to_string();
///
/// // Another request of the client, at any instance.
/// let mut session: Session = header.parse()?;
/// let read = names.at(Level::One).read_in(&mut session, "user 7").await?;
/// assert_eq!(read.value.as_deref(), Some("Ada"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The key that was used last is last.
    seen: VecDeque<Seen>,
}

/// The version of a key that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// A hash of the set and the key.
    key: u64,
    version: ReplicaVersion,
    /// The members that have it, one bit each.
    members: u64,
}

impl Seen {
    /// Whether these answers contain what was seen.
    pub(super) fn is_in(&self, answers: &[(usize, Option<ReplicaRecord>)], merges: bool) -> bool {
        answers.iter().any(|(member, record)| {
            let has_it = *member < 64 && self.members & 1 << member != 0;
            // A merged value with a higher version need not contain this one.
            let version = record.as_ref().map(|record| record.version);
            version >= Some(self.version) && (has_it || !merges || version == Some(self.version))
        })
    }
}

/// The text is not a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not the text of a session: use the unchanged value of the header `Resilient-Session`")]
pub struct InvalidSession;

impl Session {
    /// The header that carries a session between the client and the service.
    pub const HEADER: &'static str = "resilient-session";

    /// Creates the session of a client that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn seen(&self, key: &ReplicaKey) -> Option<Seen> {
        let hash = hash(key);
        self.seen.iter().find(|seen| seen.key == hash).copied()
    }

    fn add(&mut self, key: &ReplicaKey, version: ReplicaVersion, members: u64) {
        let key = hash(key);
        self.seen.retain(|seen| seen.key != key);
        while self.seen.len() >= KEYS {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen { key, version, members });
    }
}

fn hash(key: &ReplicaKey) -> u64 {
    fnv1a(&format!("{}\0{}", key.set(), key.key()))
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("1")?;
        self.seen
            .iter()
            .try_for_each(|seen| write!(f, "{:016x}{:032x}{:016x}", seen.key, seen.version.0, seen.members))
    }
}

impl FromStr for Session {
    type Err = InvalidSession;

    fn from_str(text: &str) -> Result<Self, InvalidSession> {
        const DIGITS: usize = 64;
        let text = text.strip_prefix('1').ok_or(InvalidSession)?;
        let is_valid = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_valid || text.len() % DIGITS != 0 || text.len() / DIGITS > KEYS {
            return Err(InvalidSession);
        }
        let number = |text: &str| u128::from_str_radix(text, 16).map_err(|_| InvalidSession);
        let half = |text: &str| u64::from_str_radix(text, 16).map_err(|_| InvalidSession);
        let seen = (0..text.len() / DIGITS).map(|index| {
            let part = &text[index * DIGITS..(index + 1) * DIGITS];
            let version = ReplicaVersion(number(&part[16..48])?);
            Ok(Seen { key: half(&part[..16])?, version, members: half(&part[48..])? })
        });
        Ok(Self { seen: seen.collect::<Result<_, _>>()? })
    }
}

impl<T: Value, R: Resolver<T>> ReplicaSet<T, R> {
    /// Like [`read`](Self::read), for a client that must see what it has seen before.
    ///
    /// Asks more members than the level needs until one has it.
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`Problem::BehindSession`] if no member that answers has it.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect on the value or the session.
    pub async fn read_in(&self, session: &mut Session, key: &str) -> Result<Read<T>, ReplicaError> {
        let place = self.key(key);
        let seen = session.seen(&place);
        let (read, members) = self.read_after(&place, seen).await.map_err(|problem| self.error(problem))?;
        if let Some(version) = read.version {
            session.add(&place, super::version(version), members);
        }
        Ok(read)
    }

    fn wrote(&self, session: &mut Session, key: &str, accepted: &Accepted) {
        session.add(&self.key(key), super::version(accepted.version), accepted.at);
    }
}

impl<T: Value> ReplicaSet<T, LastWriteWins> {
    /// Like [`write`](Self::write), for a client that must see it afterwards.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    /// If the future is dropped, the write may take effect, and the session does not contain it.
    pub async fn write_in(
        &self,
        session: &mut Session,
        key: &str,
        value: &T,
    ) -> Result<Accepted, ReplicaError> {
        let accepted = self.write(key, value).await?;
        self.wrote(session, key, &accepted);
        Ok(accepted)
    }

    /// Like [`remove`](Self::remove), for a client that must see it afterwards.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    ///
    /// # Cancel safety
    /// If the future is dropped, the removal may take effect, and the session does not contain it.
    pub async fn remove_in(&self, session: &mut Session, key: &str) -> Result<Accepted, ReplicaError> {
        let accepted = self.remove(key).await?;
        self.wrote(session, key, &accepted);
        Ok(accepted)
    }
}

impl<T: Value + Merge + Default> ReplicaSet<T, Merging> {
    /// Like [`update`](Self::update), for a client that must see it afterwards.
    ///
    /// # Errors
    /// As [`update`](Self::update), and [`Problem::BehindSession`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the change may take effect, and the session does not contain it.
    pub async fn update_in(
        &self,
        session: &mut Session,
        key: &str,
        change: impl Fn(&mut T, Actor) -> Result<(), MergeError>,
    ) -> Result<(T, Accepted), ReplicaError> {
        let place = self.key(key);
        let seen = session.seen(&place);
        let updated = self.updated(&place, seen, change).await;
        let (value, accepted) = updated.map_err(|problem: Problem| self.error(problem))?;
        self.wrote(session, key, &accepted);
        Ok((value, accepted))
    }
}
