//! Test of the HTTP API: runs `tests/api/check.py` with Schemathesis, the parsers of Prometheus and `promtool`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::run::{has, python_environment, root, succeed, target};

/// Runs the script against the `payments` example, which must be built already.
pub(crate) fn check() -> Result<(), String> {
    let tests = root().join("tests/api");
    let needed = tests.join("requirements.txt");
    let environment = target().join("api");
    let in_it = |program: &str| environment.join("bin").join(program);
    python_environment(&environment, &needed)?;
    let promtool = promtool(&environment.join("prometheus"));
    let program = target().join("debug/examples").join(format!("payments{}", std::env::consts::EXE_SUFFIX));
    let mut python = Command::new(in_it("python"));
    // The script writes details of failures to its working directory.
    python.arg(tests.join("check.py")).arg(program).arg(in_it("schemathesis")).current_dir(&environment);
    match promtool {
        Some(promtool) => {
            python.arg(promtool).arg(root().join("resilient-http/monitoring/prometheus-rules.yml"))
        }
        None => {
            println!("`promtool` is not available: only the parsers check the metrics");
            &mut python
        }
    };
    succeed(&mut python)
}

/// `promtool` of Prometheus: the installed one, or one that is unpacked from its package without installing it.
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
