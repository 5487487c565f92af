//! Compares the budget with a simple model.

use std::time::Duration;

use proptest::prelude::*;

use super::{Component, Config};
use crate::clock::ManualClock;
use crate::ratio::Ratio;
use crate::registry::Registry;

#[derive(Clone, Debug)]
enum Step {
    Deposit,
    Withdraw,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Deposit),
        3 => Just(Step::Withdraw),
        1 => (0..5_000u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn the_budget_grants_what_the_model_grants(
        percent in 0..=100u32,
        reserve in 0..20u32,
        burst in 0..20u32,
        steps in prop::collection::vec(step(), 1..300),
    ) {
        // T38
        let time = ManualClock::new();
        let budget = Registry::with_clock(time.clock()).retry_budget("b");
        let ratio = Ratio::percent(f64::from(percent)).unwrap();
        budget.reconfigure(Config::default().ratio(ratio).reserve(reserve).burst(burst)).unwrap();
        budget.reset();
        let capacity = f64::from(reserve) * 10.0 + f64::from(burst);
        let mut tokens = f64::from(reserve) * 10.0;
        for step in steps {
            match step {
                Step::Deposit => {
                    budget.deposit();
                    tokens = (tokens + f64::from(percent) / 100.0).min(capacity);
                }
                Step::Withdraw => {
                    // Skip comparisons that are too close for floating point.
                    prop_assume!((tokens - 1.0).abs() > 1e-6);
                    let granted = tokens > 1.0;
                    if granted {
                        tokens -= 1.0;
                    }
                    prop_assert_eq!(budget.try_withdraw(), granted, "model holds {}", tokens);
                }
                Step::Wait(millis) => {
                    time.advance(Duration::from_millis(millis));
                    tokens = (tokens + f64::from(reserve) * millis as f64 / 1000.0).min(capacity);
                }
            }
            prop_assert!((budget.tokens() - tokens).abs() < 1e-6);
        }
    }
}
