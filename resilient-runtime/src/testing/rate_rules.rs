//! The rules of a store of rate limits. Each method checks a group of rules on limits of its own.

use std::time::Duration;

use super::store_rules::{Checked, PASSED, Rule, SHORT};
use crate::random::Random;
use crate::store::StoreError;
use crate::store::rate::{RateAlgorithm, RateRequest, RateRule, RateStore, ReturnedTokens, Taken};

/// Longer than any check takes, for one token.
const HOUR: Duration = Duration::from_hours(1);

/// A store under test.
pub(super) struct RateBench<'a, S: ?Sized, P> {
    store: &'a S,
    pass: &'a P,
    random: Random,
}

type Answered = Result<Taken, StoreError>;

/// One token an hour, so that no check depends on the speed of the machine.
fn bucket(burst: u32) -> RateRule {
    RateRule { algorithm: RateAlgorithm::Bucket, interval: HOUR, burst, window: HOUR }
}

fn window(most: u32, length: Duration) -> RateRule {
    RateRule { algorithm: RateAlgorithm::Window, interval: length / most, burst: most, window: length }
}

fn leaky(interval: Duration) -> RateRule {
    RateRule { algorithm: RateAlgorithm::Bucket, interval, burst: 1, window: interval }
}

impl<'a, S: RateStore + ?Sized, P: AsyncFn(Duration)> RateBench<'a, S, P> {
    pub(super) fn new(store: &'a S, pass: &'a P) -> Self {
        Self { store, pass, random: Random::new(None) }
    }

    /// A limit that was not used before.
    fn limit(&self) -> String {
        format!("check\0{:032x}", self.random.unique())
    }

    async fn take(
        &self,
        limit: &str,
        rule: RateRule,
        (tokens, at_least): (u32, u32),
        max_wait: Duration,
    ) -> Answered {
        self.store.take(RateRequest { limit: limit.to_owned(), rule, tokens, at_least, max_wait }).await
    }

    async fn one(&self, limit: &str, rule: RateRule) -> Answered {
        self.take(limit, rule, (1, 1), Duration::ZERO).await
    }

    async fn give_back(&self, rule: Rule, limit: &str, of: RateRule, tokens: u32, mark: u64) -> Checked {
        let returned = ReturnedTokens { limit: limit.to_owned(), rule: of, tokens, mark };
        rule.of("give back", self.store.give_back(returned).await, &Ok(()))
    }

    pub(super) async fn buckets(&self) -> Checked {
        let rule = Rule("a bucket grants its burst, and then one token in each interval");
        let (limit, of) = (self.limit(), bucket(3));
        let state = self.take(&limit, of, (0, 0), Duration::ZERO).await;
        rule.taken("the state of a new limit", &state, |taken| {
            taken.granted == 0 && taken.remaining == 3 && taken.reset_after.is_zero()
        })?;
        for left in (0..3).rev() {
            let taken = self.one(&limit, of).await;
            rule.taken("a token of the burst", &taken, |taken| {
                taken.granted == 1
                    && taken.wait.is_zero()
                    && taken.remaining == left
                    && !taken.reset_after.is_zero()
                    && taken.mark < 1 << 61
            })?;
        }
        let refused = self.one(&limit, of).await;
        rule.taken("a request above the burst", &refused, |taken| {
            taken.granted == 0
                && taken.remaining == 0
                && taken.wait > HOUR / 2
                && taken.wait <= HOUR
                && taken.reset_after > HOUR * 2
        })?;
        let other = self.one(&self.limit(), of).await;
        rule.taken("another limit", &other, |taken| taken.granted == 1 && taken.remaining == 2)?;

        let rule = Rule("a bucket refills");
        let (limit, of) = (self.limit(), RateRule { interval: SHORT, ..bucket(2) });
        self.take(&limit, of, (2, 2), Duration::ZERO).await.ok();
        self.pass().await;
        let refilled = self.take(&limit, of, (2, 2), Duration::ZERO).await;
        rule.taken("the whole burst after two intervals", &refilled, |taken| taken.granted == 2)?;

        let rule = Rule("a request takes at least and at most what it asks for");
        let (limit, of) = (self.limit(), bucket(10));
        for (tokens, at_least, granted) in [(8, 8, 8), (8, 4, 0), (3, 3, 0), (8, 1, 2), (8, 1, 0)] {
            let taken = self.take(&limit, of, (tokens, at_least), Duration::ZERO).await;
            rule.taken("a part of the burst", &taken, |taken| taken.granted == granted)?;
        }
        let heavy = self.take(&limit, of, (11, 11), Duration::ZERO).await;
        rule.taken("more than the burst", &heavy, |taken| taken.granted == 0)
    }

    pub(super) async fn schedules(&self) -> Checked {
        let rule = Rule("a bucket promises tokens in the order of the requests");
        let (limit, of) = (self.limit(), leaky(HOUR));
        for turn in 0..3 {
            let taken = self.take(&limit, of, (1, 1), HOUR * 2).await;
            let wait = HOUR * turn;
            rule.taken("one token after the other", &taken, |taken| {
                taken.granted == 1 && taken.wait <= wait && taken.wait + HOUR / 2 >= wait
            })?;
        }
        let late = self.take(&limit, of, (1, 1), HOUR * 2).await;
        rule.taken("a token later than `max_wait`", &late, |taken| {
            taken.granted == 0 && taken.wait > HOUR * 2
        })?;

        let rule = Rule("a request that cannot wait does not change the turns of others");
        let refused = self.one(&limit, of).await;
        rule.taken("without `max_wait`", &refused, |taken| taken.granted == 0 && taken.wait > HOUR * 2)?;
        let next = self.take(&limit, of, (1, 1), HOUR * 9).await;
        rule.taken("the next turn", &next, |taken| taken.granted == 1 && taken.wait > HOUR * 2)?;
        self.returned_turns(1).await?;
        self.returned_turns(2).await
    }

    async fn returned_turns(&self, burst: u32) -> Checked {
        let rule = Rule("only the last turn of a schedule can be returned");
        let (limit, of, long) = (self.limit(), bucket(burst), HOUR * 9);
        self.take(&limit, of, (burst - 1, burst - 1), long).await.ok();
        let first = self.take(&limit, of, (1, 1), long).await;
        let second = self.take(&limit, of, (1, 1), long).await;
        let marks = (first.clone().map(|taken| taken.mark), second.clone().map(|taken| taken.mark));
        let (Ok(first), Ok(second)) = marks else {
            return Err(rule.broken("two turns", "two marks", &marks));
        };
        self.give_back(rule, &limit, of, 1, first).await?;
        let third = self.take(&limit, of, (1, 1), long).await;
        rule.taken("a turn behind a later one", &third, |taken| taken.wait > HOUR + HOUR / 2)?;
        let last = third.map_or(0, |taken| taken.mark);
        self.give_back(rule, &limit, of, 1, last).await?;
        self.give_back(rule, &limit, of, 1, second).await?;
        let next = self.take(&limit, of, (1, 1), long).await;
        rule.taken("the turns of calls that left", &next, |taken| {
            taken.wait > Duration::ZERO && taken.wait <= HOUR
        })
    }

    pub(super) async fn windows(&self) -> Checked {
        let rule = Rule("a window grants its limit and forgets it later");
        let (limit, of) = (self.limit(), window(5, HOUR * 24));
        let taken = self.take(&limit, of, (3, 3), Duration::ZERO).await;
        rule.taken("a part of the window", &taken, |taken| taken.granted == 3 && taken.remaining == 2)?;
        let mark = taken.map_or(0, |taken| taken.mark);
        let refused = self.take(&limit, of, (3, 3), Duration::ZERO).await;
        rule.taken("more than the rest", &refused, |taken| {
            taken.granted == 0 && taken.remaining == 2 && taken.wait > HOUR * 20 && taken.wait <= HOUR * 27
        })?;
        let rest = self.take(&limit, of, (9, 1), HOUR).await;
        rule.taken("the rest", &rest, |taken| {
            taken.granted == 2 && taken.remaining == 0 && taken.reset_after > HOUR * 20
        })?;
        self.give_back(rule, &limit, of, 2, mark).await?;
        let again = self.take(&limit, of, (9, 1), Duration::ZERO).await;
        rule.taken("returned tokens", &again, |taken| taken.granted == 2)?;
        let (limit, of) = (self.limit(), window(2, SHORT));
        self.take(&limit, of, (2, 2), Duration::ZERO).await.ok();
        self.pass().await;
        let later = self.take(&limit, of, (2, 2), Duration::ZERO).await;
        rule.taken("after the window", &later, |taken| taken.granted == 2)
    }

    pub(super) async fn returns(&self) -> Checked {
        let rule = Rule("returned tokens can be taken again, and never more than the burst");
        let (limit, of) = (self.limit(), bucket(5));
        let taken = self.take(&limit, of, (4, 4), Duration::ZERO).await;
        let mark = taken.map_or(0, |taken| taken.mark);
        // A part of the first token may have been refilled.
        self.give_back(rule, &limit, of, 3, mark).await?;
        let state = self.take(&limit, of, (0, 0), Duration::ZERO).await;
        rule.taken("the tokens that are left", &state, |taken| (3..=4).contains(&taken.remaining))?;
        self.give_back(rule, &limit, of, 5, mark).await?;
        self.give_back(rule, &limit, of, 5, mark).await?;
        let all = self.take(&limit, of, (9, 1), Duration::ZERO).await;
        rule.taken("all tokens", &all, |taken| taken.granted <= 5)?;
        self.give_back(rule, &self.limit(), of, 5, mark).await
    }

    pub(super) async fn rules(&self) -> Checked {
        let rule = Rule("another rule for the same limit is reported, and applies to its request");
        for (first, second) in [
            (bucket(5), bucket(3)),
            (bucket(5), window(3, HOUR * 9)),
            (window(5, HOUR * 9), bucket(3)),
            (window(5, HOUR * 9), window(3, HOUR * 19)),
        ] {
            let limit = self.limit();
            let taken = self.take(&limit, first, (2, 2), Duration::ZERO).await;
            rule.taken("the first rule", &taken, |taken| taken.granted == 2 && !taken.is_other_rule)?;
            let taken = self.one(&limit, first).await;
            rule.taken("the same rule", &taken, |taken| !taken.is_other_rule)?;
            let taken = self.one(&limit, second).await;
            rule.taken("another rule whose tokens are used up", &taken, |taken| {
                taken.granted == 0 && taken.is_other_rule
            })?;
        }
        Ok(())
    }

    pub(super) async fn limits(&self) -> Checked {
        let rule = Rule("the extremes of all settings work");
        let month = Duration::from_hours(24 * 31);
        let extremes = [
            RateRule { interval: Duration::from_nanos(100), ..bucket(1_000_000) },
            RateRule { interval: Duration::from_nanos(100), ..bucket(1) },
            RateRule { interval: month, ..bucket(1000) },
            bucket(800_000),
            window(1, month),
            window(u32::MAX, month),
            window(10, Duration::from_micros(1)),
            leaky(month),
        ];
        for of in extremes {
            let limit = self.limit();
            let taken = self.take(&limit, of, (of.burst, of.burst), month).await;
            rule.taken("the whole burst", &taken, |taken| taken.granted == of.burst)?;
            let mark = taken.map_or(0, |taken| taken.mark);
            self.give_back(rule, &limit, of, of.burst, mark).await?;
            self.give_back(rule, &limit, of, of.burst, (1 << 61) - 1).await?;
            self.give_back(rule, &limit, of, of.burst, 0).await?;
        }
        let distinct = Rule("limits differ in every byte");
        let base = self.limit();
        for limit in [
            base.clone(),
            format!("{base} "),
            format!("{base}\0"),
            base.to_uppercase() + "K",
            format!("{base}\u{e9}"),
        ] {
            let taken = self.one(&limit, bucket(1)).await;
            distinct.taken("a token of a new limit", &taken, |taken| taken.granted == 1)?;
        }
        Ok(())
    }

    pub(super) async fn races(&self) -> Checked {
        let rule = Rule("many requests at once get no more than the burst");
        for of in [bucket(10), window(10, HOUR * 24)] {
            let limit = self.limit();
            let one = || RateRequest {
                limit: limit.clone(),
                rule: of,
                tokens: 1,
                at_least: 1,
                max_wait: Duration::ZERO,
            };
            let answers = super::race::all((0..40).map(|_| self.store.take(one())).collect()).await;
            let granted: u32 =
                answers.iter().map(|answer| answer.as_ref().map_or(0, |taken| taken.granted)).sum();
            rule.of("tokens", granted, &10)?;
        }
        Ok(())
    }

    async fn pass(&self) {
        (self.pass)(PASSED).await;
    }
}

impl Rule {
    fn taken(self, what: &'static str, answer: &Answered, is_right: impl FnOnce(&Taken) -> bool) -> Checked {
        match answer {
            Ok(taken) if is_right(taken) => Ok(()),
            found => Err(self.broken(what, "the tokens of the rule", found)),
        }
    }
}
