//! What to expect of 16 to 64 threads on one component, where a machine has only a few cores: counted, not measured.
//!
//! A cache line that several cores write travels between them, and while it travels nobody else writes it. However
//! many threads call, a component lets through at most one call for each journey of its busiest line, times the
//! writes of that line in a call. What no call writes does not limit.

use std::fmt::Write;

/// How long a line travels between two cores of one socket: 40 to 100 ns on server processors of the last years,
/// more between sockets. An assumption, the only one here.
const JOURNEY: f64 = 60.0;

/// Who, writes to the busiest shared line in a successful call, and why.
const WRITES: &[(&str, u32, &str)] = &[
    (
        "circuit breaker, window of time",
        0,
        "adds to the thread's own stripe; one of some millions of calls moves the window on",
    ),
    (
        "circuit breaker, window of calls",
        1,
        "the position in the ring; a success in place of a success writes no slot",
    ),
    ("retry with its budget", 0, "the deposit goes to the thread's own stripe"),
    ("bulkhead", 2, "the permit taken, the permit given back"),
    ("rate limit, token bucket", 1, "the time at which the bucket is full"),
    (
        "rate limit by key, one hot key",
        2,
        "the lock of its shard, taken and given back; keys of other shards are not disturbed",
    ),
    ("hedge, not needed", 0, "the deposit goes to the thread's own stripe"),
    (
        "coalesce, keys of one shard",
        4,
        "the lock of the shard before and after the work; of sixteen shards, and by key",
    ),
    ("timeout", 0, "nothing; armed timers lie in tokio's wheel, behind a lock of the runtime"),
    (
        "statistics and percentiles",
        0,
        "own stripes; beyond four threads every fourth shares a histogram, of which it writes one of 2000 counters",
    ),
    ("`tokio::sync::Semaphore`", 4, "taken by one, given back under a lock: three"),
    ("`recloser`", 2, "a spin lock around each record, taken and released"),
    ("`failsafe`", 4, "a lock at admission and a lock at the end"),
    ("`tower-resilience`, breaker", 4, "a lock at admission and a lock at the end"),
    ("`governor`", 1, "the theoretical arrival time"),
];

/// Threads that are looked at.
const THREADS: [u32; 3] = [1, 16, 64];

/// The table, given how long a call takes alone.
pub fn markdown(alone: f64) -> String {
    let mut text = format!(
        "## Many threads on one component: a model\n\n\
         Not measured: this machine has too few cores. The column of writes is read off the sources; a write that\n\
         another core made last costs a journey of the line, taken as {JOURNEY} ns. So many million calls a second are\n\
         possible at most, if a call takes {alone:.0} ns alone, with so many threads:\n\n\
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
    let unhindered = f64::from(threads) * 1e3 / alone;
    if threads == 1 || writes == 0 { unhindered } else { unhindered.min(1e3 / (f64::from(writes) * JOURNEY)) }
}
