//! Describes the machine and the versions.

use std::path::Path;
use std::process::Command;

/// The crates whose versions are listed.
const CRATES: &[&str] = &[
    "backon",
    "failsafe",
    "governor",
    "histogram",
    "quanta",
    "recloser",
    "redb",
    "tokio",
    "tower",
    "tower-resilience",
];

/// The folder of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Lists the processor, the compiler, the date, and the versions of the crates.
pub fn describe() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpus.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let model = model.unwrap_or("an unknown processor");
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap_or_default();
    let versions: Vec<String> =
        CRATES.iter().map(|name| format!("`{name}` {}", version(&lock, name).unwrap_or("?"))).collect();
    format!(
        "- {cores} cores of {model}\n- {}\n- {} {}, default `release` profile\n- {}\n",
        output("uname", &["-sr"]),
        output("rustc", &["--version"]),
        output("date", &["-u", "+on %F"]),
        versions.join(", "),
    )
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or_else(
        |_| program.to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn version<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    // With two versions in the lock file, the last one is the newer, and the one that this workspace uses.
    let (_, rest) = lock.rsplit_once(&format!("name = \"{name}\"\nversion = \""))?;
    rest.split_once('"').map(|(version, _)| version)
}
