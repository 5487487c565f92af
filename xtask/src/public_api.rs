//! Lists the public items of the libraries in a text file, so that a review shows changes of the public API.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::run::{has, root, succeed, target};

/// The public libraries. `resilient-macros` has no listable items: `docs/settings.md` lists the arguments of the
/// attribute.
const PACKAGES: [&str; 7] = [
    "resilient-options",
    "resilient-runtime",
    "resilient-http",
    "resilient-chaos",
    "resilient-redis",
    "resilient-postgres",
    "resilient-replica",
];
const HEAD: &str = "# Public items of the libraries, with all features, without implementations that are derived, \
                    automatic or blanket.\n# Written by `cargo xtask public-api`.\n";

/// Writes `docs/public-api.txt`.
pub(crate) fn write() -> Result<(), String> {
    if !has_nightly() {
        let install = "rustup toolchain install nightly --profile minimal";
        return Err(format!(
            "this task needs a nightly toolchain for the JSON output of rustdoc: `{install}`"
        ));
    }
    let tool = tool()?;
    let mut listing = HEAD.to_owned();
    for package in PACKAGES {
        let _ = write!(listing, "\n## {package}\n\n{}", items(&tool, package)?);
    }
    let file = root().join("docs/public-api.txt");
    std::fs::write(&file, listing).map_err(|error| format!("{}: {error}", file.display()))
}

fn has_nightly() -> bool {
    let listed = Command::new("rustup").args(["toolchain", "list"]).stderr(Stdio::null()).output();
    listed.is_ok_and(|listed| {
        String::from_utf8_lossy(&listed.stdout).lines().any(|it| it.starts_with("nightly"))
    })
}

/// `cargo-public-api`: the installed one, or one built in the target directory.
fn tool() -> Result<PathBuf, String> {
    if has("cargo-public-api") {
        return Ok("cargo-public-api".into());
    }
    let tools = target().join("tools");
    let tool = tools.join("bin").join(format!("cargo-public-api{}", std::env::consts::EXE_SUFFIX));
    if !tool.exists() {
        let mut install = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        install.args(["install", "--locked", "cargo-public-api", "--root"]).arg(&tools);
        succeed(&mut install)?;
    }
    Ok(tool)
}

/// The public items of a package, one per line.
fn items(tool: &PathBuf, package: &str) -> Result<String, String> {
    let mut list = Command::new(tool);
    list.args(["--package", package, "--all-features", "--color", "never", "-sss"]).current_dir(root());
    // Shows the log of rustdoc, because the first run compiles all dependencies.
    let listed = list.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let listed = listed.map_err(|error| format!("{}: {error}", tool.display()))?;
    if !listed.status.success() {
        return Err(format!("cannot list the public items of `{package}`: {}", listed.status));
    }
    let items = String::from_utf8(listed.stdout).map_err(|error| error.to_string())?;
    // Omits items that macros such as `pin_project!` generate.
    Ok(items
        .lines()
        .filter(|item| !item.contains("::__private::"))
        .fold(String::new(), |items, item| items + item + "\n"))
}
