//! Synchronous functions and methods: no async runtime anywhere. A file that is not there yet is looked for
//! again; a bulkhead keeps the disk from being asked too much at once; a default stands in at the end.
//!
//!     cargo run --example sync_function

use std::io;
use std::path::{Path, PathBuf};

use resilient_runtime::resilient;

struct Settings {
    path: PathBuf,
}

impl Settings {
    /// `io::Error` takes a rejection by itself, and says which of its kinds are worth a retry.
    #[resilient(
        retry(max = 2, base = "20ms", when = is_worth_it),
        bulkhead("disk", max_concurrent = 4),
        fallback = |failure| { eprintln!("using the default: {failure:?}"); Ok("colour = blue".to_owned()) }
    )]
    fn read(&self) -> io::Result<String> {
        println!("attempt {} to read {}", resilient_runtime::attempt(), self.path.display());
        std::fs::read_to_string(&self.path)
    }
}

/// A file that is not there may be about to be written.
fn is_worth_it(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn main() -> io::Result<()> {
    let missing = Settings { path: Path::new("there-is-no-such-file.toml").to_owned() };
    println!("-> {}\n", missing.read()?);
    let present = Settings { path: Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml") };
    println!("-> {} bytes\n", present.read()?.len());
    println!("{}", resilient_runtime::stats());
    Ok(())
}
