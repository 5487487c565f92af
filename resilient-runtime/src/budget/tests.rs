use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::ManualClock;
use crate::ratio::Ratio;
use crate::registry::Registry;

fn budget(config: Config) -> (ManualClock, Arc<RetryBudget>) {
    let time = ManualClock::new();
    let budget = Registry::with_clock(time.clock()).retry_budget("b");
    budget.reconfigure(config).unwrap();
    budget.reset();
    (time, budget)
}

#[test]
fn reading_the_tokens_takes_none() {
    let (_, budget) = budget(Config::default().reserve(0.0));
    for _ in 0..10 {
        budget.deposit();
        assert!(budget.tokens() < 1.1);
    }
    assert!(budget.try_withdraw(), "ten calls pay for one retry");
    assert!(!budget.try_withdraw());
    assert!(budget.tokens() >= 0.0);
}

#[test]
fn new_rates_apply_from_the_change_on() {
    // T117
    let (time, budget) = budget(Config::default());
    (0..100).for_each(|_| budget.deposit());
    budget.reconfigure(Config::default().ratio(Ratio::ZERO).reserve(0.0)).unwrap();
    assert!((budget.tokens() - 40.0).abs() < 1e-6, "earned tokens stay: {}", budget.tokens());
    (0..100).for_each(|_| budget.deposit());
    time.advance(Duration::from_hours(24));
    budget.reconfigure(Config::default().ratio(Ratio::ONE)).unwrap();
    assert!((budget.tokens() - 40.0).abs() < 1e-6, "past calls earn no more: {}", budget.tokens());
}

#[test]
fn a_budget_that_is_reset_is_as_new() {
    let (_, budget) = budget(Config::default());
    let new = budget.stats();
    (0..10).for_each(|_| budget.deposit());
    while budget.try_withdraw() {}
    budget.reset();
    assert_eq!(budget.stats(), new);
    budget.deposit();
    assert_eq!(budget.stats().calls, 1);
}
