//! The `payments` example as a process: under load with faults, with many dashboards, and with idle connections.

mod idle;
mod load;
mod program;
mod viewers;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use load::{Load, under_load};
pub use program::Program;

const LOAD: Duration = Duration::from_mins(2);
const WATCH: Duration = Duration::from_secs(20);
const VIEWERS: usize = 64;
const IDLE: usize = 10_000;
/// Maximum share of a core for all viewers.
const MOST_WATCHED: f64 = 0.05;

/// Path of the `payments` example: in the directory of this program, or in the parent directory of a test.
pub fn payments() -> Result<PathBuf, String> {
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let name = format!("examples/payments{}", std::env::consts::EXE_SUFFIX);
    let found = here.ancestors().skip(1).take(2).map(|folder| folder.join(&name)).find(|path| path.is_file());
    found.ok_or_else(|| format!("{name} is not built: `cargo build [--release] --example payments`"))
}

/// Measures and returns the section of the report.
///
/// # Errors
/// Returns an error if the program does not start, a request gets no response, or the statistics are wrong.
pub fn measure() -> Result<String, String> {
    let program = payments()?;
    let load = under_load(&program, LOAD)?;
    let mut text = String::from(
        "## The `payments` example\n\nThe `payments` example as a separate process, over TCP. The load is 16 clients with \
         keep-alive connections; half of\ntheir requests are orders, and the faults of the gateway change every second.\n\n| | |\n|---|--:|\n",
    );
    let mut row = |what: &str, value: String| {
        let _ = writeln!(text, "| {what} | {value} |");
    };
    row("requests in two minutes", load.requests.to_string());
    row("requests without a response", load.unanswered.to_string());
    row("responses with 2xx, 4xx, 5xx", load.by_class());
    row("median response time", format!("{:.1?}", load.at(0.5)));
    row("P99 response time", format!("{:.1?}", load.at(0.99)));
    row("memory after a quarter of the time", format!("{:.1} MiB", mebibytes(load.early_memory)));
    row("memory at the end", format!("{:.1} MiB", mebibytes(load.late_memory)));
    let (alone, watched) = viewers::shares_of_a_core(&program, VIEWERS, WATCH)?;
    row("CPU cores used, five orders per second", format!("{alone:.4}"));
    row(&format!("CPU cores used, five orders per second, {VIEWERS} dashboards"), format!("{watched:.4}"));
    let watching = (watched - alone).max(0.0);
    let idle = idle::harm(&program, IDLE)?;
    row("idle connections", idle.connections.to_string());
    row(
        "requests with the idle connections",
        format!("{}, all answered, slowest {:.1?}", idle.requests, idle.slowest),
    );
    let met = |is_met| if is_met { "met" } else { "**missed**" };
    let goal = load.unanswered == 0;
    let _ = write!(
        text,
        "\n- every request is answered: {} ({} without a response)\n",
        met(goal),
        load.unanswered
    );
    let _ = writeln!(
        text,
        "- memory does not grow: {} ({:.2} x the memory after a quarter of the time)",
        met(load.is_level()),
        load.growth()
    );
    let _ = writeln!(
        text,
        "- {VIEWERS} dashboards use less than {MOST_WATCHED} cores: {} ({watching:.4})\n",
        met(watching < MOST_WATCHED)
    );
    Ok(text)
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// CPU time of the threads of a process, and its memory in bytes.
fn spent(process: u32) -> Result<(Duration, u64), String> {
    let folder = Path::new("/proc").join(process.to_string());
    let read = |file: &str| {
        let path = folder.join(file);
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let number = |text: Option<&str>| {
        text.and_then(|text| text.parse::<u64>().ok())
            .ok_or("unexpected format, see proc(5)")
            .map_err(String::from)
    };
    let threads = std::fs::read_dir(folder.join("task")).map_err(|error| error.to_string())?;
    // In nanoseconds. Ended threads are not included; the threads of this program do not end.
    let nanos = threads.flatten().map(|thread| {
        let thread = thread.file_name();
        number(read(&format!("task/{}/schedstat", thread.display()))?.split_whitespace().next())
    });
    let nanos = nanos.sum::<Result<u64, String>>()?;
    let pages = number(read("statm")?.split_whitespace().nth(1))?;
    Ok((Duration::from_nanos(nanos), pages * 4096))
}
