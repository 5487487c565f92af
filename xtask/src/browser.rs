//! Tests and screenshots of the dashboard: runs the scripts of `tests/browser` with Chromium and Playwright.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::run::{has, installed, root, succeed, target};

const FILES: [&str; 9] = [
    "dashboard.mjs",
    "stores.mjs",
    "chaos.mjs",
    "screenshots.mjs",
    "audit.mjs",
    "harness.mjs",
    "service.mjs",
    "package.json",
    "package-lock.json",
];
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Runs the dashboard tests against the examples, which must be built.
pub(crate) fn check() -> Result<(), String> {
    run("dashboard.mjs", "payments", &[])?;
    run("chaos.mjs", "payments", &[])?;
    if !has("redis-server") && !installed("redis-server") {
        return Err("`redis-server` is required: `apt-get install redis-server`".to_owned());
    }
    run("stores.mjs", "fleet", &[])
}

/// Takes the pictures in `docs/images` of the main example, which must be built.
pub(crate) fn screenshots() -> Result<(), String> {
    run("screenshots.mjs", "payments", &[root().join("docs/images").as_os_str()])
}

/// Runs a script of `tests/browser` with the path of an example as its first argument.
fn run(script: &str, example: &str, rest: &[&OsStr]) -> Result<(), String> {
    for needed in ["node", "npm"] {
        if !has(needed) {
            return Err(format!("`{needed}` is required: install Node.js"));
        }
    }
    let browser = browser()?;
    let (root, target) = (root(), target());
    // npm installs its packages here, outside the source folders.
    let folder = target.join("browser");
    let copy =
        |file: &&str| std::fs::copy(root.join("tests/browser").join(file), folder.join(file)).map(drop);
    std::fs::create_dir_all(&folder)
        .and_then(|()| FILES.iter().try_for_each(copy))
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut install = Command::new("npm");
    install.args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&folder);
    succeed(&mut install)?;
    let program = target.join("debug/examples").join(format!("{example}{}", std::env::consts::EXE_SUFFIX));
    let mut node = Command::new("node");
    node.arg(script).arg(program).args(rest).env("CHROMIUM", browser).current_dir(&folder);
    succeed(&mut node)
}

/// Path of Chromium.
fn browser() -> Result<PathBuf, String> {
    let found = || BROWSERS.iter().find_map(|name| path_of(name));
    found()
        .or_else(|| installed("chromium").then(found).flatten())
        .ok_or_else(|| "Chromium is required: `apt-get install chromium`".to_owned())
}

fn path_of(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.is_file())
}
