//! What it costs to claim an idempotency key on disk, beside what the disk takes for a write alone.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use resilient_runtime::idempotency::{Claim, Claimed, DurableStore, Fingerprint, IdempotencyStore, Owner};
use tokio::runtime::Handle;

/// Claims of one caller.
const ALONE: usize = 2_000;
const CALLERS: usize = 64;
/// Claims of each of them.
const EACH: usize = 1_000;
/// Records in the file that is opened.
const OPENED: usize = 100_000;

/// The longest that half of the claims may take for one caller alone.
const MOST_ALONE: Duration = Duration::from_micros(500);
/// Claims a second with 64 callers at least.
const LEAST_TOGETHER: f64 = 10_000.0;

/// Gone with the measurement.
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
        other => Err(format!("a new key was claimed, and the answer was {other:?}")),
    }
}

/// The duration at `share` of all, sorted.
fn at(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let index = (times.len() as f64 * share) as usize;
    times.get(index).copied().unwrap_or_default()
}

/// Appends and waits for the disk: what no store can do without.
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

/// Measures, as a section of the results.
///
/// # Errors
/// When a file cannot be made or a claim is refused.
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
    let more: Result<Vec<()>, String> = runtime.block_on(in_turns(more)).into_iter().collect();
    more?;
    drop(store);
    let began = Instant::now();
    drop(DurableStore::open(&file).map_err(|error| error.to_string())?);
    let opened = began.elapsed();

    let mut text = String::from(
        "## Idempotency keys on disk\n\nClaims of new keys in a `DurableStore`, each acknowledged when it is on the disk. The first \
         line is what\nthe disk takes for 4 KiB and `fdatasync` alone.\n\n| | median | 99 of 100 | a second |\n|---|--:|--:|--:|\n",
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
    let _ = writeln!(text, "To open a file of {OPENED} records and to check all of it took {opened:?}.\n");
    let _ =
        writeln!(text, "- one caller: half of the claims in {MOST_ALONE:?}: {}", met(median <= MOST_ALONE));
    let _ = writeln!(
        text,
        "- {CALLERS} callers: at least {LEAST_TOGETHER} claims a second: {}\n",
        met(rate >= LEAST_TOGETHER)
    );
    Ok(text)
}

/// As many at a time as there are callers.
async fn in_turns<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let (mut all, mut outputs) = (all.peekable(), Vec::new());
    while all.peek().is_some() {
        let turn: Vec<F> = all.by_ref().take(CALLERS * 4).collect();
        outputs.extend(join_all(turn).await);
    }
    outputs
}
