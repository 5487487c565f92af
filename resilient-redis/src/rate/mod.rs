//! Rate limits that several instances share. Each is one key, `PREFIX:rate:{HASH}`, changed by one script at a time.

mod group;

use std::sync::LazyLock;
use std::time::Duration;

use resilient_runtime::rate_limit::{RateAlgorithm, RateRequest, RateRule, RateStore, ReturnedTokens, Taken};
use resilient_runtime::store::{Answer, StoreError};

use crate::script::Script;
use crate::session::{Operation, Reply, Session};
use crate::store::{RedisStore, whole_micros};

pub(crate) use group::Groups;

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
        let session = self.session();
        if group::is_simple(&request)
            && let Some(started) = self.groups().take(session, &request.limit, request.rule)
        {
            return Box::pin(async move {
                let stopped = |_| Err(session.error("the operation was stopped by a panic"));
                started?.await.unwrap_or_else(stopped)
            });
        }
        session.perform(taking(session, &request), |session, reply| read(session, &reply))
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

/// The operation that takes tokens.
fn taking(session: &Session, request: &RateRequest) -> Operation {
    let mut arguments = rule_arguments(&request.rule);
    arguments.extend([request.tokens, request.at_least].map(|tokens| tokens.to_string().into()));
    arguments.push(floored_micros(request.max_wait));
    // A second copy of the request can take the tokens twice, which admits fewer calls and never more.
    Operation::new(&TAKE, session.key(ROLE, &request.limit), arguments).repeatable().with_deadline()
}

/// Reads the response to a request for tokens.
fn read(session: &Session, reply: &Reply) -> Result<Taken, StoreError> {
    let taken = if reply.status == "taken" { taken(reply) } else { None };
    taken.ok_or_else(|| unusable(session, reply))
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

/// The rule in its stored form, and its interval, burst and window.
fn rule_arguments(rule: &RateRule) -> Vec<Vec<u8>> {
    let (kind, window) = match rule.algorithm {
        RateAlgorithm::Bucket => ('b', 0),
        RateAlgorithm::Window => ('w', whole_micros(rule.window)),
    };
    let (interval, burst) = (rule.interval.as_nanos(), rule.burst);
    let stored = format!("{kind}:{interval}:{burst}:{window}");
    [stored, interval.to_string(), burst.to_string(), window.to_string()].map(String::into_bytes).into()
}

/// Rounded down: a caller must not wait longer than it can.
fn floored_micros(span: Duration) -> Vec<u8> {
    const LONGEST: Duration = Duration::from_hours(24 * 365);
    span.min(LONGEST).as_micros().to_string().into()
}

fn taken(reply: &Reply) -> Option<Taken> {
    let &[granted, wait, remaining, reset_after, mark, other] = &*reply.numbers else { return None };
    let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let mut taken = Taken { granted: count(granted), remaining: count(remaining), mark, ..Taken::default() };
    (taken.wait, taken.reset_after) = (Duration::from_nanos(wait), Duration::from_nanos(reset_after));
    taken.is_other_rule = other == 1;
    Some(taken)
}
