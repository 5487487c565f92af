//! What a mistake looks like. The `.stderr` files are the specification of our messages.
//!
//! `ui/own` holds messages of the attribute itself, `ui/rustc` those of the compiler that the attribute steers.
//! The latter change from one release of Rust to the next, so they are compared under one release only.
//! `TRYBUILD=overwrite cargo test -p resilient-tests --test ui` writes them anew; look at the difference. `BATCH=0` compiles
//! each case alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

#[path = "ui/batch.rs"]
mod batch;

/// The release that wrote `ui/rustc`.
const PINNED: &str = "rustc 1.95.";

fn is_pinned() -> bool {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().expect("there is a compiler");
    String::from_utf8_lossy(&output.stdout).starts_with(PINNED)
}

/// The cases of one folder, as paths from the package.
fn cases(folder: &str) -> Vec<PathBuf> {
    let read = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("the folder is there");
        entries.map(|entry| entry.expect("it can be read").path()).collect()
    };
    let mut cases: Vec<PathBuf> = read(Path::new(folder)).iter().flat_map(|folder| read(folder)).collect();
    cases.retain(|case| case.extension().is_some_and(|extension| extension == "rs"));
    cases.sort();
    cases
}

#[test]
fn mistakes_are_explained_at_the_users_own_token() {
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
    eprintln!("{} alone: {left:?}", left.len());
    let alone = trybuild::TestCases::new();
    for case in left {
        alone.compile_fail(case);
    }
}
