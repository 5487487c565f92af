//! How degraded results are reported.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::fallback::degradation::MAX_REASONS;
use crate::rejection::RejectionKind;

fn answered(fallback: &Fallback, level: Level) -> u32 {
    let chain = || Chain::of(level, move |_| Ok(level as u32));
    fallback.call(|| Outcome::Err(MyError::Primary), chain).unwrap()
}

#[test]
fn the_farthest_level_is_reported_with_all_reasons() {
    let (rates, stock) = (Registry::new().fallback("rates"), Registry::new().fallback("stock"));
    let ((), degraded) = Degradation::collect(|| {
        assert!(degradation::degraded().is_none());
        answered(&rates, Level::Backup);
        answered(&stock, Level::Replica);
        assert_eq!(degradation::degraded().unwrap().level, Level::Backup, "also visible inside the scope");
    });
    let degraded = degraded.unwrap();
    assert_eq!((degraded.level, degraded.age, degraded.omitted), (Level::Backup, None, 0));
    let reasons: Vec<_> = degraded.reasons.iter().map(|why| (why.operation, why.level, &*why.text)).collect();
    assert_eq!(
        reasons,
        [("rates", Level::Backup, "primary down"), ("stock", Level::Replica, "primary down")]
    );
    let json = serde_json::to_value(&degraded).unwrap();
    assert_eq!((&json["level"], &json["reasons"][1]["level"]), (&"backup".into(), &"replica".into()));
}

#[test]
fn real_results_and_failures_are_not_degraded() {
    let fallback = fallback();
    let ((), degraded) = Degradation::collect(|| {
        let _ = fallback.call(|| Outcome::Ok(1), || unreachable!("not needed"));
        let _ = fallback.call(|| None::<u32>, || Chain::of(Level::Default, |_| None));
    });
    assert_eq!(degraded, None);
    answered(&fallback, Level::Default);
    assert!(degradation::degraded().is_none(), "there is no scope");
}

#[test]
fn outer_scopes_include_inner_ones_and_scopes_end_on_a_panic() {
    let fallback = fallback();
    let ((), outer) = Degradation::collect(|| {
        let ((), inner) = Degradation::collect(|| {
            answered(&fallback, Level::Replica);
        });
        assert_eq!(inner.unwrap().reasons.len(), 1);
        let panicked = std::panic::AssertUnwindSafe(|| {
            Degradation::collect(|| {
                answered(&fallback, Level::Backup);
                panic!("in the scope");
            })
        });
        std::panic::catch_unwind(panicked).unwrap_err();
        answered(&fallback, Level::Default);
    });
    let levels: Vec<_> = outer.unwrap().reasons.iter().map(|reason| reason.level).collect();
    assert_eq!(levels, [Level::Replica, Level::Backup, Level::Default]);
    assert!(degradation::degraded().is_none());
}

#[test]
fn the_number_and_length_of_reasons_are_limited() {
    let fallback = fallback();
    let long: &'static str = Box::leak("ü".repeat(10_000).into());
    let ((), degraded) = Degradation::collect(|| {
        for _ in 0..MAX_REASONS + 5 {
            let chain = || Chain::of(Level::Default, |_| Ok(1));
            fallback.call(|| Outcome::Err(MyError::Level(long)), chain).unwrap();
        }
    });
    let degraded = degraded.unwrap();
    assert_eq!((degraded.reasons.len(), degraded.omitted), (MAX_REASONS, 5));
    assert!(degraded.reasons.iter().all(|reason| reason.text.len() <= 256));
}

#[test]
fn a_reason_contains_the_kind_of_rejection() {
    let registry = Registry::new();
    registry.circuit_breaker("b").force_open();
    let pipeline = registry.pipeline("rates").circuit_breaker("b").fallback("f").build();
    let chain = || Chain::of(Level::Default, |_| Some(1));
    let (answer, degraded) = Degradation::collect(|| pipeline.request().fallback(chain).call(|| None));
    let reason = degraded.unwrap().reasons.remove(0);
    assert_eq!((answer, reason.operation), (Some(1), "rates"));
    assert_eq!(reason.rejection, Some(RejectionKind::CircuitOpen));
    assert!(reason.text.contains("is open"), "{}", reason.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_task_has_its_own_scope_across_awaits_on_many_threads() {
    let registry = Registry::new();
    let tasks: Vec<_> = (0..64_u32)
        .map(|number| {
            let fallback = registry.fallback(&format!("f{number}"));
            let level = Level::ALL[number as usize % Level::ALL.len()];
            tokio::spawn(Degradation::scope(async move {
                for _ in 0..50 {
                    tokio::task::yield_now().await;
                }
                answered(&fallback, level);
                tokio::task::yield_now().await;
                (fallback, level, degradation::degraded().unwrap().reasons.len())
            }))
        })
        .collect();
    for task in tasks {
        let ((fallback, level, seen), degraded) = task.await.unwrap();
        let degraded = degraded.unwrap();
        assert_eq!((seen, degraded.level, degraded.reasons.len()), (1, level, 1));
        assert_eq!(degraded.reasons[0].operation, Component::name(&*fallback));
    }
    assert!(degradation::degraded().is_none());
}

#[test]
fn two_scopes_on_one_thread_do_not_mix() {
    let (one, two) = (Registry::new().fallback("one"), Registry::new().fallback("two"));
    let work = |fallback: Arc<Fallback>, level| {
        Box::pin(Degradation::scope(async move {
            tokio::task::yield_now().await;
            answered(&fallback, level);
            tokio::task::yield_now().await;
        }))
    };
    let (mut one, mut two) = (work(one, Level::Replica), work(two, Level::Default));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut ended = Vec::new();
    for _ in 0..3 {
        for future in [&mut one, &mut two] {
            if let std::task::Poll::Ready(((), degraded)) = future.as_mut().poll(&mut cx) {
                ended.push(degraded.unwrap().level);
            }
        }
    }
    assert_eq!(ended, [Level::Replica, Level::Default]);
}

#[test]
fn a_collector_reports_degraded_results_inside_it_but_not_before_it() {
    // T114
    let fallback = fallback();
    answered(&fallback, Level::Default);
    let outer = ReasonCollector::begin();
    let inner = ReasonCollector::begin();
    assert_eq!(inner.end(), None);
    let inner = ReasonCollector::begin();
    answered(&fallback, Level::Default);
    assert!(inner.end().is_some());
    let later = ReasonCollector::begin();
    assert_eq!(later.end(), None);
    assert!(outer.end().is_some(), "the outer collector includes the inner one");
}

#[test]
fn a_mark_keeps_the_farthest_level_and_the_greatest_age() {
    let mut degraded = Degraded::fresh(3);
    assert_eq!((degraded.is_degraded(), *degraded, degraded.to_string()), (false, 3, "3".to_owned()));
    let first: Arc<str> = "first".into();
    degraded.mark(Level::LocalCache, Some(Duration::from_secs(5)), Some(&first));
    degraded.mark(Level::Replica, Some(Duration::from_secs(2)), None);
    assert_eq!(degraded.level(), Some(Level::LocalCache));
    assert_eq!((degraded.age(), degraded.reason()), (Some(Duration::from_secs(5)), Some("first")));
    let json = serde_json::to_value(&degraded).unwrap();
    assert_eq!(json["age"], 5.0);
    assert_eq!((&json["level"], &json["value"]), (&"local_cache".into(), &3.into()));
    let other = degraded.map(|value| value + 1);
    assert_eq!((other.level(), other.into_inner()), (Some(Level::LocalCache), 4));
    let mut failed: Result<Degraded<u32>, ()> = Err(());
    failed.mark(Level::Default, None, None);
    assert!(!failed.is_marked());
    let mut marked = [Degraded::fresh(3), Degraded::fresh(3)];
    marked[1].mark(Level::Default, None, None);
    for (degraded, is_marked) in marked.into_iter().zip([false, true]) {
        assert_eq!(degraded.is_marked(), is_marked);
        assert_eq!(Some(degraded.clone()).is_marked(), is_marked);
        assert_eq!(Ok::<_, ()>(degraded).is_marked(), is_marked);
    }
}
