//! A model of 16 to 64 threads on one component, for machines with few cores. The values are calculated, not measured.
//!
//! A cache line that several cores write moves between them, and no core can write it during a transfer. Each write of
//! the busiest line needs a transfer, so that transfers limit the calls of a component, whatever the number of threads.
//! A line that no call writes is no limit.

use std::fmt::Write;

/// Nanoseconds to transfer a line between two cores of one socket. This is an assumption.
///
/// Recent server processors take 40 to 100 ns, and more between sockets.
const TRANSFER: f64 = 60.0;

/// Component, number of writes to its busiest shared line in a successful call, and explanation.
const WRITES: &[(&str, u32, &str)] = &[
    (
        "circuit breaker, window of time",
        0,
        "adds to the stripe of the thread; one of some millions of calls advances the window",
    ),
    (
        "circuit breaker, window of calls",
        1,
        "the position in the ring; a success that replaces a success writes no slot",
    ),
    ("retry with its budget", 0, "the deposit goes to the stripe of the thread"),
    ("bulkhead", 2, "acquiring and releasing the permit"),
    ("rate limit, token bucket", 1, "the time at which the bucket is full"),
    (
        "rate limit by key, one hot key",
        2,
        "acquiring and releasing the lock of the shard; keys of other shards are independent",
    ),
    ("hedge, not needed", 0, "the deposit goes to the stripe of the thread"),
    (
        "coalesce, keys of one shard",
        4,
        "the lock of the shard before and after the work; there are sixteen shards by key",
    ),
    ("timeout", 0, "none; tokio stores armed timers in its timer wheel, which has a lock"),
    (
        "statistics and percentiles",
        0,
        "a stripe per thread; with more than four threads, every fourth shares a histogram and writes one of 2000 counters",
    ),
    ("`tokio::sync::Semaphore`", 4, "one to acquire, three to release under a lock"),
    ("`recloser`", 2, "acquiring and releasing a spin lock for each record"),
    ("`failsafe`", 4, "one lock at admission and one at the end"),
    ("`tower-resilience`, breaker", 4, "one lock at admission and one at the end"),
    ("`governor`", 1, "the theoretical arrival time"),
];

/// Numbers of threads in the table.
const THREADS: [u32; 3] = [1, 16, 64];

/// Returns the section of the report. `alone` is the time of a call with one thread.
pub fn markdown(alone: f64) -> String {
    let mut text = format!(
        "## Many threads on one component: a model\n\n\
         Calculated, not measured: this machine has too few cores. The number of writes is taken from the source code. The\n\
         model assumes {TRANSFER} ns to transfer a cache line that another core wrote last, and {alone:.0} ns for a call with\n\
         one thread. The columns show the maximum of million calls per second, by the number of threads:\n\n\
         | | writes to the busiest shared line |"
    );
    for threads in THREADS {
        let _ = write!(text, " {threads} |");
    }
    text.push_str(" |\n|---|--:|--:|--:|--:|---|\n");
    for (who, writes, why) in WRITES {
        let _ = write!(text, "| {who} | {writes} |");
        for threads in THREADS {
            let _ = write!(text, " {:.0} |", millions(*writes, threads, alone));
        }
        let _ = writeln!(text, " {why} |");
    }
    text.push('\n');
    text
}

fn millions(writes: u32, threads: u32, alone: f64) -> f64 {
    let unlimited = f64::from(threads) * 1e3 / alone;
    if threads == 1 || writes == 0 { unlimited } else { unlimited.min(1e3 / (f64::from(writes) * TRANSFER)) }
}
