//! The main example as a whole: under load while its gateway fails, watched by many, and with idle clients.

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
/// Of a core, for all viewers.
const MOST_WATCHED: f64 = 0.05;

/// Where cargo has put the main example: beside this program, or above this test.
pub fn payments() -> Result<PathBuf, String> {
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let name = format!("examples/payments{}", std::env::consts::EXE_SUFFIX);
    let found = here.ancestors().skip(1).take(2).map(|folder| folder.join(&name)).find(|path| path.is_file());
    found.ok_or_else(|| format!("{name} is not built: `cargo build [--release] --example payments`"))
}

/// Measures, as a section of the results.
///
/// # Errors
/// When the program does not start, a request is not answered, or counts are not what they should be.
pub fn measure() -> Result<String, String> {
    let program = payments()?;
    let load = under_load(&program, LOAD)?;
    let mut text = String::from(
        "## The main example as a whole\n\n`payments` as a process of its own, over TCP. Under load: 16 clients that keep their \
         connections, half of what\nthey ask are orders, each second another fault of the gateway.\n\n| | |\n|---|--:|\n",
    );
    let mut row = |what: &str, value: String| {
        let _ = writeln!(text, "| {what} | {value} |");
    };
    row("requests in two minutes", load.requests.to_string());
    row("of them without an answer", load.unanswered.to_string());
    row("answered with 2xx, 4xx, 5xx", load.by_class());
    row("half of them within", format!("{:.1?}", load.at(0.5)));
    row("99 of 100 within", format!("{:.1?}", load.at(0.99)));
    row("memory, after a quarter of the time", format!("{:.1} MiB", mebibytes(load.early_memory)));
    row("memory at the end", format!("{:.1} MiB", mebibytes(load.late_memory)));
    let (alone, watched) = viewers::shares_of_a_core(&program, VIEWERS, WATCH)?;
    row("cores that it takes with five orders a second", format!("{alone:.4}"));
    row(&format!("the same with {VIEWERS} dashboards"), format!("{watched:.4}"));
    let watching = (watched - alone).max(0.0);
    let idle = idle::harm(&program, IDLE)?;
    row("connections that send nothing", idle.connections.to_string());
    row(
        "requests beside them",
        format!("{}, all answered, the slowest in {:.1?}", idle.requests, idle.slowest),
    );
    let met = |is_met| if is_met { "met" } else { "**missed**" };
    let goal = load.unanswered == 0;
    let _ = write!(text, "\n- every request is answered: {} ({} are not)\n", met(goal), load.unanswered);
    let _ = writeln!(
        text,
        "- memory is level: {} ({:.2} times what it was after a quarter)",
        met(load.is_level()),
        load.growth()
    );
    let _ = writeln!(
        text,
        "- {VIEWERS} dashboards cost less than {MOST_WATCHED} cores: {} ({watching:.4})\n",
        met(watching < MOST_WATCHED)
    );
    Ok(text)
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// How much processor time the threads of a process have taken, and how much memory it has.
fn spent(process: u32) -> Result<(Duration, u64), String> {
    let folder = Path::new("/proc").join(process.to_string());
    let read = |file: &str| {
        let path = folder.join(file);
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let number = |text: Option<&str>| {
        text.and_then(|text| text.parse::<u64>().ok()).ok_or("not as in proc(5)").map_err(String::from)
    };
    let threads = std::fs::read_dir(folder.join("task")).map_err(|error| error.to_string())?;
    // In nanoseconds; threads that have ended are not in it, and this program's do not end.
    let nanos = threads.flatten().map(|thread| {
        let thread = thread.file_name();
        number(read(&format!("task/{}/schedstat", thread.display()))?.split_whitespace().next())
    });
    let nanos = nanos.sum::<Result<u64, String>>()?;
    let pages = number(read("statm")?.split_whitespace().nth(1))?;
    Ok((Duration::from_nanos(nanos), pages * 4096))
}
