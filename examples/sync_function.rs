//! Synchronous functions and methods, without an async runtime.
//!
//! Reading a missing file is retried, a bulkhead limits concurrent reads, and a default replaces a file that is not
//! found.
//!
//!     cargo run --example sync_function

use std::io;
use std::path::{Path, PathBuf};

use resilient_runtime::resilient;

struct Settings {
    path: PathBuf,
}

impl Settings {
    /// `io::Error` implements `From<Rejection>`. `when` selects the errors to retry.
    #[resilient(
        retry(max = 2, base = "20ms", when = is_retryable),
        bulkhead("disk", max_concurrent = 4),
        fallback = |failure| { eprintln!("using the default: {failure:?}"); Ok("color = blue".to_owned()) }
    )]
    fn read(&self) -> io::Result<String> {
        println!("attempt {} to read {}", resilient_runtime::attempt(), self.path.display());
        std::fs::read_to_string(&self.path)
    }
}

/// Another process might be about to write a missing file.
fn is_retryable(error: &io::Error) -> bool {
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
