//! Adaptive timeout: derives the limit of an attempt from measured latencies.

use std::io;
use std::time::Duration;

use futures_util::future::join_all;
use resilient_runtime::clock::Clock;
use resilient_runtime::timeout::Config;
use resilient_runtime::{Component, Pipeline, Registry, RejectionKind};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// P95 x 1.5 within 50 ms and 10 s, after 100 samples.
fn adaptive(registry: &Registry) -> Pipeline {
    let config = Config::default().adaptive(true).min(MS(50)).max(Duration::from_secs(10));
    registry.timeout("db").reconfigure(config).unwrap();
    registry.pipeline("query").timeout("db").build()
}

async fn query(pipeline: &Pipeline, takes: Duration) -> io::Result<()> {
    pipeline
        .call_async(async || {
            tokio::time::sleep(takes).await;
            Ok(())
        })
        .await
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_an_attempt_is_the_95th_percentile_times_1_5() {
    let registry = Registry::with_clock(Clock::tokio());
    let pipeline = adaptive(&registry);
    for number in 0..200 {
        let takes = if number % 10 == 0 { MS(100) } else { MS(50) };
        query(&pipeline, takes).await.unwrap();
    }
    let limit = registry.timeout("db").stats().attempt.unwrap();
    assert!((MS(145)..=MS(160)).contains(&limit), "{limit:?}");
    let late = query(&pipeline, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(RejectionKind::found_in(&late).map(|(kind, _)| kind), Some(RejectionKind::AttemptTimeout));
}

#[tokio::test(start_paused = true)]
async fn the_configured_limit_applies_until_there_are_enough_samples() {
    let registry = Registry::with_clock(Clock::tokio());
    let pipeline = adaptive(&registry);
    for _ in 0..50 {
        query(&pipeline, MS(100)).await.unwrap();
    }
    let stats = registry.timeout("db").stats();
    assert_eq!(stats.attempt, Some(Duration::from_secs(10)), "50 samples are too few");
    assert!(!stats.adaptive.unwrap().is_learned);
}

#[tokio::test(start_paused = true)]
async fn statistics_contain_the_percentiles_of_the_attempts() {
    let registry = Registry::with_clock(Clock::tokio());
    let pipeline = adaptive(&registry);
    join_all((1..=1000).map(|number| query(&pipeline, MS(number)))).await;
    let learned = registry.timeout("db").stats().adaptive.unwrap();
    for (percentile, millis) in
        [(learned.p50, 500), (learned.p95, 950), (learned.p99, 990), (learned.p999, 999)]
    {
        let (found, expected) = (percentile.unwrap(), MS(millis));
        let off = found.abs_diff(expected);
        assert!(off <= expected / 20, "{found:?} instead of {expected:?}");
    }
}
