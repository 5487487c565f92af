//! No setting, valid or not, and no time causes an overflow.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::ManualClock;
use crate::component::{Component, Kind};
use crate::settings::Value;

fn value() -> impl Strategy<Value = Value> {
    let spans = [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_millis(10),
        Duration::from_secs(1),
        Duration::from_hours(1),
        Duration::from_hours(24),
        Duration::from_hours(24 * 31),
        Duration::from_nanos(u64::MAX),
        Duration::MAX,
    ];
    let counts = [0, 1, 2, 10, 1000, 10_000, 1_000_000, 10_000_000, u64::from(u32::MAX), u64::MAX];
    let numbers = [0.0, 1e-300, 0.001, 1.0, 50.0, 99.9, 100.0, 1e6, f64::MAX];
    let words =
        ["1/31d", "10000000/s", "4294967295/h", "fibonacci", "decorrelated", "sliding_window", "burn_rate"];
    prop_oneof![
        4 => prop::sample::select(spans.to_vec()).prop_map(Value::Duration),
        4 => prop::sample::select(counts.to_vec()).prop_map(Value::Count),
        1 => prop::sample::select(vec![0.0, 1e-9, 0.5, 1.0]).prop_map(Value::Ratio),
        2 => prop::sample::select(numbers.to_vec()).prop_map(Value::Number),
        1 => prop::sample::select(words.to_vec()).prop_map(|word| Value::Text(word.into())),
        1 => any::<bool>().prop_map(Value::Flag),
        1 => Just(Value::Unset),
    ]
}

/// Applies a setting if it is valid.
fn set(registry: &Registry, kind: Kind, index: usize, value: &Value) {
    let Some(component) = registry.0.shelves.of(kind).get("x") else { return };
    let fields = component.effective();
    if !fields.is_empty() {
        // The setting is applied or refused, without a panic in both cases.
        let _ = component.set(&[(fields[index % fields.len()].field, value.clone())]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn no_setting_and_no_time_overflows(
        steps in prop::collection::vec((0_usize..Kind::all().len(), 0_usize..40, value(), 0_usize..6, any::<bool>()), 1..60)
    ) {
        let time = ManualClock::new();
        let registry = Registry::with_seed(time.clock(), 7);
        let pipeline = registry.pipeline("op").circuit_breaker("x").retry("x").bulkhead("x").rate_limit("x");
        let pipeline = pipeline.load_shed("x").timeout("x").build();
        registry.retry_budget("x");
        registry.alert("x");
        let (hedge, coalesce) = (registry.hedge("x"), registry.coalesce("x"));
        for (kind, index, value, jump, succeeds) in steps {
            let kind = Kind::all().nth(kind).unwrap();
            // Thread pools are out of scope.
            if !(kind == Kind::Bulkhead && index % 12 == 3) {
                set(&registry, kind, index, &value);
            }
            let spans = [0, 1, 1_000_000_000, 3_600_000_000_000, u64::MAX / 2, u64::MAX];
            if succeeds { time.advance(Duration::from_nanos(spans[jump])) } else { time.rewind(Duration::from_nanos(spans[jump])) }
            // A retry would advance the clock by up to days, a thousand times.
            if registry.retry("x").config().max < 20 {
                pipeline.call(|| succeeds.then_some(1));
            }
            let _ = coalesce.call("key", || Some(1));
            let _ = hedge.stats();
            registry.evaluate_alerts();
        }
        let _ = registry.stats();
        let _ = registry.validate();
    }
}
