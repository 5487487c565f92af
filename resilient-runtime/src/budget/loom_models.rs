//! Loom models: every interleaving of a few threads that use the budget.

use loom::sync::Arc;
use loom::thread;

use super::{Config, RetryBudget};
use crate::clock::ManualClock;
use crate::component::{Core, Create};

#[test]
fn loom_two_retries_get_one_token_between_them_and_no_deposit_is_lost() {
    // T38, T154
    loom::model(|| {
        let config = Config::default().ratio(crate::Ratio::HALF).reserve(0.0);
        let core = Core::for_test("b", ManualClock::new().clock(), config);
        let budget = Arc::new(RetryBudget::create(core));
        budget.deposit();
        let other = Arc::clone(&budget);
        let thread = thread::spawn(move || {
            other.deposit();
            other.try_withdraw()
        });
        let here = budget.try_withdraw();
        let there = thread.join().unwrap();
        assert!(!(here && there), "two deposits of a half make one token");
        assert!(here || there, "one of them gets the token");
        assert!(!budget.try_withdraw());
    });
}
