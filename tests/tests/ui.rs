//! What a mistake looks like. The `.stderr` files are the specification of our messages.
//!
//! `ui/own` holds messages of the attribute itself, `ui/rustc` those of the compiler that the attribute steers.
//! The latter change from one release of Rust to the next, so they are compared under one release only.
//! `TRYBUILD=overwrite cargo test -p resilient-tests --test ui` writes them anew; look at the difference.

use std::process::Command;

/// The release that wrote `ui/rustc`.
const PINNED: &str = "rustc 1.95.";

fn is_pinned() -> bool {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().expect("there is a compiler");
    String::from_utf8_lossy(&output.stdout).starts_with(PINNED)
}

#[test]
fn mistakes_are_explained_at_the_users_own_token() {
    // T126, T127, T151, T153
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/own/*/*.rs");
    if is_pinned() {
        cases.compile_fail("tests/ui/rustc/*/*.rs");
    }
}
