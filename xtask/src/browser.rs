//! The dashboard in a real browser: `tests/browser/dashboard.mjs`, with Chromium and Playwright.

use std::path::PathBuf;
use std::process::Command;

use crate::run::{has, installed, root, succeed, target};

const FILES: [&str; 5] = ["dashboard.mjs", "audit.mjs", "service.mjs", "package.json", "package-lock.json"];
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Runs the script against the main example, which was built before.
pub(crate) fn check() -> Result<(), String> {
    for needed in ["node", "npm"] {
        if !has(needed) {
            return Err(format!("`{needed}` is needed for the test of the dashboard"));
        }
    }
    let browser = browser()?;
    let (root, target) = (root(), target());
    // What npm installs is not to lie among the sources.
    let folder = target.join("browser");
    let copy =
        |file: &&str| std::fs::copy(root.join("tests/browser").join(file), folder.join(file)).map(drop);
    std::fs::create_dir_all(&folder)
        .and_then(|()| FILES.iter().try_for_each(copy))
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut install = Command::new("npm");
    install.args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&folder);
    succeed(&mut install)?;
    let program = target.join("debug/examples").join(format!("payments{}", std::env::consts::EXE_SUFFIX));
    let mut node = Command::new("node");
    node.arg("dashboard.mjs").arg(program).env("CHROMIUM", browser).current_dir(&folder);
    succeed(&mut node)
}

/// Where Chromium is.
fn browser() -> Result<PathBuf, String> {
    let found = || BROWSERS.iter().find_map(|name| path_of(name));
    found().or_else(|| installed("chromium").then(found).flatten()).ok_or_else(|| {
        "Chromium is needed for the test of the dashboard: `apt-get install chromium`".to_owned()
    })
}

fn path_of(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.is_file())
}
