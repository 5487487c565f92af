//! Cost of claiming an idempotency key on disk, compared with the cost of a disk write.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use resilient_runtime::idempotency::{Claim, Claimed, DurableStore, Fingerprint, IdempotencyStore, Owner};
use tokio::runtime::Handle;

/// Number of claims of a single caller.
const ALONE: usize = 2_000;
const CALLERS: usize = 64;
/// Number of claims per concurrent caller.
const EACH: usize = 1_000;
/// Number of records in the file when it is opened.
const OPENED: usize = 100_000;

/// Maximum median time of a claim of a single caller.
const MOST_ALONE: Duration = Duration::from_micros(500);
/// Minimum number of claims per second with 64 callers.
const LEAST_TOGETHER: f64 = 10_000.0;

/// A temporary directory. Dropping it deletes the directory.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn claim(key: String) -> Claim {
    let hour = Duration::from_hours(1);
    Claim {
        key,
        fingerprint: Fingerprint(1),
        operation: "",
        owner: Owner(1),
        lease: hour,
        lost_for: hour,
        takes_over: false,
        client: None,
    }
}

async fn claimed(store: &DurableStore, key: String) -> Result<(), String> {
    match store.claim(claim(key)).await {
        Ok(Claimed::Acquired) => Ok(()),
        other => Err(format!("claiming a new key returned {other:?}")),
    }
}

/// The quantile `share` of the durations.
fn at(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let index = (times.len() as f64 * share) as usize;
    times.get(index).copied().unwrap_or_default()
}

/// Times of appending to a file and syncing it, which every durable store must do.
fn synced(directory: &Directory) -> std::io::Result<Vec<Duration>> {
    let mut file = File::create(directory.0.join("synced"))?;
    (0..ALONE)
        .map(|_| {
            let began = Instant::now();
            file.write_all(&[1; 4096])?;
            file.sync_data()?;
            Ok(began.elapsed())
        })
        .collect()
}

/// Measures and returns the section of the report.
///
/// # Errors
/// Returns an error if a file cannot be created or a claim fails.
pub fn measure() -> Result<String, String> {
    let path = std::env::temp_dir().join(format!("resilient-bench-{}", std::process::id()));
    std::fs::create_dir_all(&path).map_err(|error| error.to_string())?;
    let directory = Directory(path);
    let mut disk = synced(&directory).map_err(|error| error.to_string())?;
    let file = directory.0.join("records");
    let store = DurableStore::open(&file).map_err(|error| error.to_string())?;
    let runtime = Handle::current();
    let mut alone = Vec::with_capacity(ALONE);
    for number in 0..ALONE {
        let began = Instant::now();
        runtime.block_on(claimed(&store, format!("alone {number}")))?;
        alone.push(began.elapsed());
    }
    let (store_ref, began) = (&store, Instant::now());
    let callers = (0..CALLERS).map(|caller| async move {
        let mut times = Vec::with_capacity(EACH);
        for number in 0..EACH {
            let began = Instant::now();
            claimed(store_ref, format!("{caller} of {CALLERS}: {number}")).await?;
            times.push(began.elapsed());
        }
        Ok::<_, String>(times)
    });
    let together: Result<Vec<_>, String> = runtime.block_on(join_all(callers)).into_iter().collect();
    let took = began.elapsed();
    let mut together = together?.concat();
    #[allow(clippy::cast_precision_loss)]
    let rate = together.len() as f64 / took.as_secs_f64();
    let more = (alone.len() + together.len()..OPENED).map(|number| claimed(&store, format!("more {number}")));
    let more: Result<Vec<()>, String> = runtime.block_on(in_batches(more)).into_iter().collect();
    more?;
    drop(store);
    let began = Instant::now();
    drop(DurableStore::open(&file).map_err(|error| error.to_string())?);
    let opened = began.elapsed();

    let mut text = String::from(
        "## Idempotency keys on disk\n\nClaims of new keys in a `DurableStore`, each acknowledged when it is on disk. The first row \
         is the time\nof writing 4 KiB and `fdatasync`.\n\n| | median | P99 | per second |\n|---|--:|--:|--:|\n",
    );
    let (median, met) = (at(&mut alone, 0.5), |is_met| if is_met { "met" } else { "**missed**" });
    let _ =
        writeln!(text, "| write and `fdatasync` | {:?} | {:?} | |", at(&mut disk, 0.5), at(&mut disk, 0.99));
    let _ = writeln!(text, "| claim, one caller | {median:?} | {:?} | |", at(&mut alone, 0.99));
    let _ = writeln!(
        text,
        "| claim, {CALLERS} callers | {:?} | {:?} | {rate:.0} |\n",
        at(&mut together, 0.5),
        at(&mut together, 0.99)
    );
    let _ = writeln!(text, "Opening and checking a file of {OPENED} records took {opened:?}.\n");
    let _ = writeln!(text, "- one caller: median of at most {MOST_ALONE:?}: {}", met(median <= MOST_ALONE));
    let _ = writeln!(
        text,
        "- {CALLERS} callers: at least {LEAST_TOGETHER} claims per second: {}\n",
        met(rate >= LEAST_TOGETHER)
    );
    Ok(text)
}

/// Runs the futures in batches.
async fn in_batches<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let (mut all, mut outputs) = (all.peekable(), Vec::new());
    while all.peek().is_some() {
        let batch: Vec<F> = all.by_ref().take(CALLERS * 4).collect();
        outputs.extend(join_all(batch).await);
    }
    outputs
}
