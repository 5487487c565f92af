//! Failed logins: one string for each key, at `PREFIX:login:{HASH}`.

use std::time::Duration;

use resilient_runtime::store::{Answer, LoginRule, LoginState, LoginStore, StoreError};

use crate::script::LOGIN;
use crate::session::{Operation, Performed, Reply, Session};
use crate::store::{RedisStore, micros};

/// A rule for operations that lock nothing.
const NONE: LoginRule = LoginRule { limit: u32::MAX, first_lock: Duration::ZERO };

impl RedisStore {
    fn login<T: Send + 'static>(
        &self,
        key: &str,
        (operation, number): (&str, u64),
        rule: LoginRule,
        read: impl FnOnce(State) -> T + Send + 'static,
    ) -> Performed<'_, T> {
        let arguments = vec![
            operation.into(),
            rule.limit.to_string().into(),
            micros(rule.first_lock),
            micros(LoginRule::LONGEST),
            micros(LoginRule::HALF_LIFE),
            micros(LoginRule::KNOWN_FOR),
            number.to_string().into(),
        ];
        let operation = Operation::new(&LOGIN, self.session().key("login", key), arguments);
        self.session().perform(operation, |session, reply| match &*reply.status {
            "state" => state(&reply).map(read).ok_or_else(|| session.unusable(&reply)),
            _ => Err(unusable(session, &reply)),
        })
    }
}

struct State {
    state: LoginState,
    failures: u64,
}

fn state(reply: &Reply) -> Option<State> {
    let mut numbers =
        std::str::from_utf8(&reply.detail).ok()?.split(' ').map(|number| number.parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    let left = Duration::from_micros(next()?);
    let locked_for = (!left.is_zero()).then_some(left);
    Some(State { state: LoginState { locked_for, is_known: next()? == 1 }, failures: next()? })
}

/// The error of a value that cannot be used. Only a wrong response is a failure of the store.
fn unusable(session: &Session, reply: &Reply) -> StoreError {
    let address = session.address();
    match &*reply.status {
        "foreign" => StoreError::Refused(format!(
            "redis store {address}: another program has written to the key of these failed logins: use a prefix of its own \
             for each program, `{}` is not",
            session.prefix()
        )),
        "format" => StoreError::Refused(format!(
            "redis store {address}: a later version of resilient-redis wrote these failed logins: update all instances"
        )),
        _ => session.unusable(reply),
    }
}

impl LoginStore for RedisStore {
    fn check<'a>(&'a self, key: &'a str) -> Answer<'a, LoginState> {
        self.login(key, ("check", 0), NONE, |state| state.state)
    }

    fn count<'a>(&'a self, key: &'a str, rule: LoginRule, is_judged: bool) -> Answer<'a, LoginState> {
        let operation = if is_judged { "judge" } else { "count" };
        self.login(key, (operation, 0), rule, |state| state.state)
    }

    fn forgive<'a>(&'a self, key: &'a str) -> Answer<'a, u64> {
        self.login(key, ("forgive", 0), NONE, |state| state.failures)
    }

    fn subtract<'a>(&'a self, key: &'a str, rule: LoginRule, thousandths: u64) -> Answer<'a, ()> {
        self.login(key, ("subtract", thousandths), rule, |_| ())
    }
}
