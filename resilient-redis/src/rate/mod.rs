//! Rate limits that several instances share. Each is one key, `PREFIX:rate:{HASH}`, changed by one script at a time.

use std::sync::LazyLock;
use std::time::Duration;

use resilient_runtime::rate_limit::{RateAlgorithm, RateRequest, RateRule, RateStore, ReturnedTokens, Taken};
use resilient_runtime::store::{Answer, StoreError};
use sha2::{Digest, Sha256};

use crate::script::Script;
use crate::session::{Operation, Reply, Session};
use crate::store::{RedisStore, micros};

/// Part of the keys in Redis.
const ROLE: &str = "rate";

static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/take.lua")));
static RETURN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../scripts/return.lua")));

impl RedisStore {
    /// Returns the key in Redis of a rate limit, to look it up with `GET`.
    ///
    /// `limit` is the name of the component and a zero byte, and for a limit by key the hash of the key. The part in braces
    /// decides which node of a cluster has the limit.
    ///
    /// ```
    /// use resilient_redis::RedisStore;
    ///
    /// let key = RedisStore::connect_lazily("redis://127.0.0.1")?.limit_key("api\0");
    /// assert!(key.starts_with("resilient:rate:{") && key.ends_with('}'));
    /// # Ok::<_, resilient_redis::InvalidConfig>(())
    /// ```
    pub fn limit_key(&self, limit: &str) -> String {
        self.session().key(ROLE, limit)
    }
}

impl RateStore for RedisStore {
    fn take(&self, request: RateRequest) -> Answer<'_, Taken> {
        let RateRequest { limit, rule, tokens, at_least, max_wait } = request;
        let mut arguments = rule_arguments(&rule);
        arguments.push(digest(&arguments));
        arguments.extend([tokens.to_string().into(), at_least.to_string().into(), floored_micros(max_wait)]);
        // A second copy of the request can take the tokens twice, which admits fewer calls and never more.
        let operation = Operation::new(&TAKE, self.limit_key(&limit), arguments).repeatable().with_deadline();
        self.session().perform(operation, |session, reply| match &*reply.status {
            "taken" => taken(&reply).ok_or_else(|| unusable(session, &reply)),
            _ => Err(unusable(session, &reply)),
        })
    }

    fn give_back(&self, returned: ReturnedTokens) -> Answer<'_, ()> {
        let ReturnedTokens { limit, rule, tokens, mark } = returned;
        let mut arguments = rule_arguments(&rule);
        arguments.extend([tokens.to_string().into(), mark.to_string().into()]);
        let operation = Operation::new(&RETURN, self.limit_key(&limit), arguments).repeatable().required();
        self.session().perform(operation, |session, reply| match &*reply.status {
            "returned" => Ok(()),
            _ => Err(unusable(session, &reply)),
        })
    }
}

/// The error of a value that cannot be used. A value of another program is not a failure of the store: other limits work.
fn unusable(session: &Session, reply: &Reply) -> StoreError {
    let address = session.address();
    match &*reply.status {
        "foreign" => StoreError::Refused(format!(
            "redis store {address}: another program has written to the key of this rate limit: use a prefix of its own for \
             each program, `{}` is not",
            session.prefix()
        )),
        "format" => StoreError::Refused(format!(
            "redis store {address}: a later version of resilient-redis wrote this rate limit: update all instances"
        )),
        _ => session.unusable(reply),
    }
}

/// The kind, the interval, the burst and the window.
fn rule_arguments(rule: &RateRule) -> Vec<Vec<u8>> {
    vec![
        if rule.algorithm == RateAlgorithm::Bucket { b"b".to_vec() } else { b"w".to_vec() },
        rule.interval.as_nanos().to_string().into(),
        rule.burst.to_string().into(),
        micros(rule.window),
    ]
}

/// A short hash of a rule, by which instances find that they have different rules.
fn digest(rule: &[Vec<u8>]) -> Vec<u8> {
    let hash = Sha256::digest(rule.join(&b':'));
    let short = hash.iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    format!("{short:08x}").into()
}

/// Rounded down: a caller must not wait longer than it can.
fn floored_micros(span: Duration) -> Vec<u8> {
    const LONGEST: Duration = Duration::from_hours(24 * 365);
    span.min(LONGEST).as_micros().to_string().into()
}

fn taken(reply: &Reply) -> Option<Taken> {
    let mut numbers =
        std::str::from_utf8(&reply.detail).ok()?.split(' ').map(|number| number.parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let mut taken = Taken { granted: count(next()?), ..Taken::default() };
    taken.wait = Duration::from_nanos(next()?);
    taken.remaining = count(next()?);
    taken.reset_after = Duration::from_nanos(next()?);
    taken.mark = next()?;
    taken.is_other_rule = next()? == 1;
    Some(taken)
}
