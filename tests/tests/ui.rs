//! Compile errors of the attribute. The `.stderr` files are the specification of the messages.
//!
//! `ui/own` contains messages of the attribute itself. `ui/rustc` contains messages of the compiler for code that the
//! attribute expands to. The latter change between releases of Rust, so that they are compared with one release only.
//! `TRYBUILD=overwrite cargo test -p resilient-tests --test ui` rewrites the files; review the diff. `BATCH=0` compiles
//! each case separately.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

#[path = "ui/batch.rs"]
mod batch;

/// The Rust release with which the files in `ui/rustc` were written.
const PINNED: &str = "rustc 1.95.";

fn is_pinned() -> bool {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().expect("rustc runs");
    String::from_utf8_lossy(&output.stdout).starts_with(PINNED)
}

/// The cases of one folder, as paths relative to the package.
fn cases(folder: &str) -> Vec<PathBuf> {
    let read = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("the folder exists");
        entries.map(|entry| entry.expect("the folder can be read").path()).collect()
    };
    let mut cases: Vec<PathBuf> = read(Path::new(folder)).iter().flat_map(|folder| read(folder)).collect();
    cases.retain(|case| case.extension().is_some_and(|extension| extension == "rs"));
    cases.sort();
    cases
}

#[test]
fn compile_errors_match_the_expected_messages() {
    // T126, T127, T151, T153
    let mut batches = vec![("own", cases("tests/ui/own"))];
    if is_pinned() {
        batches.push(("rustc", cases("tests/ui/rustc")));
    }
    let is_batched = env::var("BATCH").map_or(true, |batch| batch != "0");
    let left = if is_batched {
        batch::left(&batches)
    } else {
        batches.into_iter().flat_map(|(_, cases)| cases).collect()
    };
    eprintln!("{} compiled separately: {left:?}", left.len());
    let alone = trybuild::TestCases::new();
    for case in left {
        alone.compile_fail(case);
    }
}
