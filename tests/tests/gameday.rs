//! Plays the game day of the `payments` example in a quarter of its time: all hypotheses hold, and one deviates if its
//! protection is broken.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Path of the example. Builds it unless `cargo xtask test` has built it before.
fn program() -> PathBuf {
    let mut folder = std::env::current_exe().expect("this test has a path");
    // target/PROFILE/deps/gameday-HASH
    folder.pop();
    folder.pop();
    let program = folder.join("examples").join(format!("payments{}", std::env::consts::EXE_SUFFIX));
    if !program.exists() {
        let build = Command::new(env!("CARGO"))
            .args(["build", "-p", "resilient-examples", "--example", "payments"])
            .status();
        assert!(build.expect("cargo can be run").success());
    }
    program
}

/// A folder of a test, which is removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("resilient-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("the folder can be created");
        Self(folder)
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Plays a game day, and returns its exit code and output.
fn play(reports: &Path, more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(program())
        .args(["--gameday", "--quick", "--port", "0", "--gateway-port", "0", "--reports"])
        .arg(reports)
        .args(more)
        .env_remove("RESILIENT_ENVIRONMENT")
        .stdin(Stdio::null())
        .output()
        .expect("the example starts");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code(), text.concat())
}

#[test]
fn all_hypotheses_hold_and_the_report_says_so() {
    let folder = Folder::new("gameday");
    let (code, output) = play(&folder.0, &[]);
    assert_eq!(code, Some(0), "{output}");
    for part in
        ["# Game day: payments", "Act 6 of 6", "step `outage` starts", "All 6 hypotheses held.", "Report: "]
    {
        assert!(output.contains(part), "{part}: {output}");
    }
    let page = folder.read("gameday.html");
    assert!(
        page.contains("<p class=\"verdict held\">All 6 hypotheses held.</p>"),
        "the page begins with the verdict"
    );
    assert!(!page.contains("<script") && !page.contains("src="), "the page needs no other file");
    assert_eq!(page.matches("<h2>Timeline</h2>").count(), 6);
    assert!(folder.read("gameday.md").contains("**All 6 hypotheses held.**"));
    assert!(
        folder.read("01-dependency-down.jsonl").ends_with("{\"entry\":\"ended\",\"outcome\":\"held\"}\n")
            || folder.read("01-dependency-down.jsonl").contains("\"held\"")
    );
}

#[test]
fn a_hypothesis_deviates_without_its_protection() {
    let folder = Folder::new("gameday-broken");
    let settings = include_str!("../../examples/payments/quick.toml");
    let broken = settings.replace("[circuit_breaker.payment]", "[circuit_breaker.payment]\nenabled = false");
    assert_ne!(broken, settings);
    let config = folder.0.join("broken.toml");
    std::fs::write(&config, broken).expect("the file can be written");
    let config = config.to_str().expect("the path is text");
    let (code, output) = play(&folder.0, &["--only", "dependency-down", "--config", config]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("deviation: circuit `payment` is open within"), "{output}");
    let page = folder.read("gameday.html");
    assert!(
        page.contains("<p class=\"verdict deviated\">0 of 1 hypothesis held, 1 deviated.</p>"),
        "{output}"
    );
}

#[test]
fn a_production_environment_refuses_the_game_day() {
    let folder = Folder::new("gameday-production");
    let output = Command::new(program())
        .args([
            "--gameday",
            "--quick",
            "--port",
            "0",
            "--gateway-port",
            "0",
            "--only",
            "overload",
            "--reports",
        ])
        .arg(&folder.0)
        .env("RESILIENT_ENVIRONMENT", "production")
        .stdin(Stdio::null())
        .output()
        .expect("the example starts");
    assert_eq!(output.status.code(), Some(3));
    assert!(folder.read("gameday.md").contains("`production`"));
}

#[test]
fn unknown_scenarios_and_options_without_a_game_day_are_reported() {
    let folder = Folder::new("gameday-options");
    let (code, output) = play(&folder.0, &["--only", "overlaod"]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("did you mean `overload`?"), "{output}");
    let output = Command::new(program()).arg("--quick").output().expect("the example starts");
    assert!(String::from_utf8_lossy(&output.stderr).contains("`--quick` needs `--gameday`"));
}
