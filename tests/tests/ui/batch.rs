//! Compiles all cases of a kind in one crate, with one run of the compiler.
//!
//! Each case is a module of the crate, and the diagnostics are grouped by the file to which they point. A case whose
//! diagnostics differ from its `.stderr` file is left for `trybuild`, which compiles it separately and decides: some
//! compiler errors hide others, lints are silent in a crate with errors, and some notes depend on other code in the
//! crate.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

/// Returns the cases that `trybuild` must compile separately.
pub(crate) fn left(batches: &[(&str, Vec<PathBuf>)]) -> Vec<PathBuf> {
    let seen = Project::new().and_then(|project| project.check(batches)).unwrap_or_else(|why| {
        eprintln!("each case is compiled separately: {why}");
        BTreeMap::new()
    });
    let cases = batches.iter().flat_map(|(_, cases)| cases);
    cases.filter(|case| !is_as_expected(case, &seen)).cloned().collect()
}

fn is_as_expected(case: &Path, seen: &BTreeMap<PathBuf, Vec<String>>) -> bool {
    let Ok(expected) = fs::read_to_string(case.with_extension("stderr")) else { return false };
    let Some(seen) = seen.get(case) else { return false };
    // The order of the diagnostics depends on the crate.
    let mut expected: Vec<String> = split(&expected).into_iter().map(without_margin).collect();
    let mut seen: Vec<String> = seen.iter().map(|message| without_margin(message)).collect();
    expected.sort_unstable();
    seen.sort_unstable();
    if expected != seen && env::var_os("BATCH_DIFF").is_some() {
        eprintln!("{}\n{}\n-- expected --\n{}", case.display(), seen.join("\n\n"), expected.join("\n\n"));
    }
    expected == seen
}

/// Splits a `.stderr` file into messages.
fn split(stderr: &str) -> Vec<&str> {
    let is_head = |line: &str| line.starts_with("error") || line.starts_with("warning");
    let mut starts: Vec<usize> = Vec::new();
    let mut at = 0;
    for line in stderr.split_inclusive('\n') {
        if is_head(line) {
            starts.push(at);
        }
        at += line.len();
    }
    starts.push(at);
    starts.windows(2).map(|ends| stderr[ends[0]..ends[1]].trim_end()).collect()
}

struct Project {
    tests: PathBuf,
    workspace: PathBuf,
    target: PathBuf,
    manifest: String,
}

impl Project {
    /// Creates a project with the dependencies of these tests, as reported by `cargo metadata`.
    fn new() -> Result<Self, String> {
        let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let output = cargo()
            .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
            .current_dir(&tests)
            .output()
            .map_err(|error| error.to_string())?;
        let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        let path = |key: &str| metadata[key].as_str().map(PathBuf::from).ok_or("no metadata");
        let package = metadata["packages"]
            .as_array()
            .and_then(|all| all.iter().find(|package| package["name"] == env!("CARGO_PKG_NAME")))
            .ok_or("no package of these tests in the metadata")?;
        let mut manifest = format!(
            "[package]\nname = \"ui-batch\"\nversion = \"0.0.0\"\nedition = {}\npublish = false\n[workspace]\n[dependencies]\n",
            package["edition"]
        );
        for dependency in package["dependencies"].as_array().ok_or("no dependencies")? {
            let _ = write!(manifest, "{} = {{ ", dependency["name"].as_str().unwrap_or_default());
            let _ = match &dependency["path"] {
                Value::String(path) => write!(manifest, "path = {path:?}, "),
                _ => write!(manifest, "version = {}, ", dependency["req"]),
            };
            let _ = writeln!(
                manifest,
                "features = {}, default-features = {} }}",
                dependency["features"], dependency["uses_default_features"]
            );
        }
        Ok(Self { tests, workspace: path("workspace_root")?, target: path("target_directory")?, manifest })
    }

    /// Compiles the project and returns the messages for each case.
    fn check(&self, batches: &[(&str, Vec<PathBuf>)]) -> Result<BTreeMap<PathBuf, Vec<String>>, String> {
        // Uses the target directory and flags of `trybuild`, so that the dependencies are built only once.
        let target = self.target.join("tests/trybuild");
        let folder = target.join("ui-batch");
        let source = folder.join("src/bin");
        let write = |path: PathBuf, text: &str| fs::write(path, text).map_err(|error| error.to_string());
        let _ = fs::remove_dir_all(&source);
        fs::create_dir_all(&source).map_err(|error| error.to_string())?;
        write(folder.join("Cargo.toml"), &self.manifest)?;
        fs::copy(self.workspace.join("Cargo.lock"), folder.join("Cargo.lock"))
            .map_err(|error| error.to_string())?;
        for (name, cases) in batches {
            let mut root = String::new();
            for case in cases {
                let path = self.tests.join(case).display().to_string();
                let _ = writeln!(root, "#[path = {path:?}]\nmod {};", module(case));
            }
            root.push_str("fn main() {}\n");
            write(source.join(format!("{name}.rs")), &root)?;
        }
        let flags =
            "[\"--cfg\", \"trybuild\", \"--verbose\", \"-A\", \"dead_code\", \"--diagnostic-width=140\"]";
        let output = cargo()
            .current_dir(&folder)
            .env("CARGO_TARGET_DIR", &target)
            .env_remove("RUSTFLAGS")
            .env("CARGO_INCREMENTAL", "0")
            .args(["check", "--bins", "--keep-going", "--offline", "--quiet", "--message-format=json"])
            .arg(format!("--config=build.rustflags={flags}"))
            .output()
            .map_err(|error| error.to_string())?;
        let mut seen: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
            let message = &message["message"];
            if let (Some(case), Some(rendered)) = (self.case(message), message["rendered"].as_str()) {
                seen.entry(case.clone()).or_default().push(self.normal(rendered, &case));
            }
        }
        if seen.is_empty() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(seen)
    }

    /// Returns the case that a message belongs to.
    fn case(&self, message: &Value) -> Option<PathBuf> {
        let spans = message["spans"].as_array()?;
        let span = spans.iter().find(|span| span["is_primary"] == true).or(spans.first())?;
        // Code from a macro belongs to the file that calls the macro.
        let mut span = span;
        loop {
            let file = Path::new(span["file_name"].as_str()?);
            if let Ok(case) = file.strip_prefix(&self.tests) {
                return Some(case.to_owned());
            }
            span = span["expansion"].get("span")?;
        }
    }

    /// Normalizes a message like `trybuild`, as far as these cases need it.
    fn normal(&self, rendered: &str, case: &Path) -> String {
        let own_path = format!("{}::", module(case));
        let (tests, workspace) =
            (format!("{}/", self.tests.display()), format!("{}/", self.workspace.display()));
        let mut lines: Vec<String> = Vec::new();
        let mut is_foreign = false;
        for line in rendered.lines() {
            let mut line =
                line.trim_end().replace(&own_path, "").replace(&format!("crate::{own_path}"), "crate::");
            let trimmed = line.trim_start();
            let indent = line.len() - trimmed.len();
            if trimmed.starts_with("--> ") || trimmed.starts_with("::: ") {
                is_foreign = !trimmed.contains(&tests);
                if is_foreign {
                    line = without_place(&line);
                    let ends = ["/rustlib/src/rust/library/", "/library/"];
                    let end = ends.iter().find_map(|end| Some(line.find(end)? + end.len() - 1));
                    if let Some(end) = end
                        && line.contains("/rust")
                    {
                        line.replace_range(indent + 4..end, "$RUST");
                    }
                }
            } else if is_foreign
                && trimmed.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '|' | '.'))
            {
                // Line numbers in other files change.
                let digits = line.find(|c: char| !c.is_ascii_digit() && c != ' ').unwrap_or(0);
                line.replace_range(..digits, &" ".repeat(digits));
            } else {
                is_foreign = false;
            }
            lines.push(line.trim_end().replace(&tests, "").replace(&workspace, "$WORKSPACE/"));
        }
        lines.join("\n")
    }
}

/// Removes the line and column: `main.rs:22:29` becomes `main.rs`.
fn without_place(line: &str) -> String {
    line.trim_end_matches(|c: char| c.is_ascii_digit() || c == ':').to_owned()
}

/// Removes the margin, whose width depends on the largest line number, including numbers that are not shown.
fn without_margin(message: &str) -> String {
    let line = |line: &str| {
        let text = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        let is_margin = text.starts_with(['|', '=', '~', '+', '-', ':']) || text.is_empty();
        if !is_margin {
            return line.to_owned();
        }
        format!("{}{text}", line[..line.len() - text.len()].trim())
    };
    message.trim_end().lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Returns the module name of a case.
fn module(case: &Path) -> String {
    let path = case.with_extension("").display().to_string();
    path.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '_' }).collect()
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
