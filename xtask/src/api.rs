//! The API as programs see it: `tests/api/check.py`, with Schemathesis and the parsers of Prometheus.

use std::path::Path;
use std::process::Command;

use crate::run::{has, installed, root, succeed, target};

/// Runs the script against the main example, which was built before.
pub(crate) fn check() -> Result<(), String> {
    if !has("python3") {
        return Err("`python3` is needed for the test of the API".to_owned());
    }
    let tests = root().join("tests/api");
    let needed = tests.join("requirements.txt");
    let environment = target().join("api");
    let in_it = |program: &str| environment.join("bin").join(program);
    if !in_it("pip").exists() {
        make(&environment)?;
    }
    let mut install = Command::new(in_it("pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(needed);
    succeed(&mut install)?;
    let program = target().join("debug/examples").join(format!("payments{}", std::env::consts::EXE_SUFFIX));
    let mut python = Command::new(in_it("python"));
    // What it learns of failures is for who looks at one.
    python.arg(tests.join("check.py")).arg(program).arg(in_it("schemathesis")).current_dir(&environment);
    succeed(&mut python)
}

/// A place of its own for what Python needs.
fn make(environment: &Path) -> Result<(), String> {
    let make = || succeed(Command::new("python3").args(["-m", "venv"]).arg(environment));
    // On some systems it is a package of its own.
    make().or_else(|problem| if installed("python3-venv") { make() } else { Err(problem) })
}
