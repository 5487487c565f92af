//! Keeps every core busy while the tests run: a test must not depend on how fast the machine is.

use std::io::Read;
use std::process::{Child, Command, Stdio};

/// The argument that turns this program into one busy core.
pub(crate) const BUSY: &str = "busy-core";

/// Processes that compute until this is dropped.
pub(crate) struct Load(Vec<Child>);

impl Load {
    /// One process for each core.
    pub(crate) fn start() -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism()?.get();
        let program = std::env::current_exe()?;
        let busy = |_| Command::new(&program).arg(BUSY).stdin(Stdio::piped()).spawn();
        println!("=== with {cores} cores kept busy");
        (0..cores).map(busy).collect::<Result<_, _>>().map(Self)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Computes until standard input is closed: when the task ends, however it ends.
pub(crate) fn keep_busy() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let mut sum = 0_u64;
    loop {
        sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
    }
}
