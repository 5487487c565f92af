//! A process that uses the library has the threads it had before. Alone in its binary, so that the count is its
//! own.

use resilient_runtime::{Rejection, resilient};

#[resilient(circuit_breaker = "threads", retry(max = 1), bulkhead("threads", max_concurrent = 1))]
fn protected() -> Result<u32, Rejection> {
    Ok(1)
}

#[cfg(target_os = "linux")]
#[test]
fn no_thread_is_started_that_could_keep_the_process_alive() {
    // T75
    let threads = || std::fs::read_dir("/proc/self/task").expect("it is Linux").count();
    let before = threads();
    let mut events = resilient_runtime::registry().subscribe();
    for _ in 0..100 {
        protected().expect("nothing refuses it");
    }
    assert!(events.try_recv().is_none() && !resilient_runtime::stats().to_string().is_empty());
    assert_eq!(threads(), before);
}
