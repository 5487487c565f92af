//! The library starts no threads by default. This test has its own binary, so that other tests do not change the count.

use resilient_runtime::{Rejection, resilient};

#[resilient(circuit_breaker = "threads", retry(max = 1), bulkhead("threads", max_concurrent = 1))]
fn protected() -> Result<u32, Rejection> {
    Ok(1)
}

#[cfg(target_os = "linux")]
#[test]
fn the_library_starts_no_threads() {
    // T75
    let threads = || std::fs::read_dir("/proc/self/task").expect("Linux has /proc").count();
    let before = threads();
    let mut events = resilient_runtime::registry().subscribe();
    for _ in 0..100 {
        protected().expect("the call succeeds");
    }
    assert!(events.try_recv().is_none() && !resilient_runtime::stats().to_string().is_empty());
    assert_eq!(threads(), before);
}
