//! The API as programs see it: `tests/api/check.py`, with Schemathesis, the parsers of Prometheus and its `promtool`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
    let promtool = promtool(&environment.join("prometheus"));
    let program = target().join("debug/examples").join(format!("payments{}", std::env::consts::EXE_SUFFIX));
    let mut python = Command::new(in_it("python"));
    // What it learns of failures is for who looks at one.
    python.arg(tests.join("check.py")).arg(program).arg(in_it("schemathesis")).current_dir(&environment);
    match promtool {
        Some(promtool) => {
            python.arg(promtool).arg(root().join("resilient-http/monitoring/prometheus-rules.yml"))
        }
        None => {
            println!("`promtool` is not to be had here: its parsers alone read the metrics");
            &mut python
        }
    };
    succeed(&mut python)
}

/// The checker of Prometheus: of this system, or out of its package, which is not installed for that.
fn promtool(folder: &Path) -> Option<PathBuf> {
    let unpacked = folder.join("usr/bin/promtool");
    if has("promtool") {
        return Some("promtool".into());
    }
    if !unpacked.exists() {
        std::fs::create_dir_all(folder).ok()?;
        let run = |program: &str, args: &[&str]| {
            let status = Command::new(program).args(args).current_dir(folder).stdout(Stdio::null()).status();
            status.ok().filter(std::process::ExitStatus::success)
        };
        run("apt-get", &["-qq", "download", "prometheus"]).or_else(|| {
            run("apt-get", &["-qq", "update"]).and(run("apt-get", &["-qq", "download", "prometheus"]))
        })?;
        let packages = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
        let package = packages.into_iter().find(|path| path.extension().is_some_and(|is| is == "deb"))?;
        run("dpkg", &["-x", package.to_str()?, "."])?;
    }
    unpacked.exists().then_some(unpacked)
}

/// A place of its own for what Python needs.
fn make(environment: &Path) -> Result<(), String> {
    let make = || succeed(Command::new("python3").args(["-m", "venv"]).arg(environment));
    // On some systems it is a package of its own.
    make().or_else(|problem| if installed("python3-venv") { make() } else { Err(problem) })
}
