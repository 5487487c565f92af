//! Keeps every core busy while the tests run, because a test must not depend on the speed of the machine.

use std::io::Read;
use std::process::{Child, Command, Stdio};

/// The argument that makes this program keep one core busy.
pub(crate) const BUSY: &str = "busy-core";

/// Processes that keep the cores busy. Dropping it ends them.
pub(crate) struct Load(Vec<Child>);

impl Load {
    /// Starts one process per core.
    pub(crate) fn start() -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism()?.get();
        let program = std::env::current_exe()?;
        let busy = |_| Command::new(&program).arg(BUSY).stdin(Stdio::piped()).spawn();
        println!("=== keeping {cores} cores busy");
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

/// Computes until standard input is closed, which happens when the task ends or is killed.
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
