//! The commands that need no service.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Ran, command, run};
use serde_json::Value;

/// A folder of its own, removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("resilient-cli-check-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn local(args: &[&str]) -> Ran {
    run(&mut command("http://127.0.0.1:1", args))
}

const WRONG: &str = "[circuit_breaker.payment]
open_fr = \"10s\"
failure_rate = \"130%\"

[bulkhead.gateway]
max_queue = 9
";

#[test]
fn all_problems_are_shown_with_their_lines_and_remedies() {
    let folder = Folder::new("all");
    let path = folder.write("wrong.toml", WRONG);
    let ran = local(&["check", &path]);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""), "{ran:?}");
    let text = ran.out.replace(&path, "wrong.toml");
    let wanted = "\
wrong.toml:2:1: unknown setting `open_fr`; did you mean `open_for`?
  2 | open_fr = \"10s\"
    | ^

";
    assert!(text.starts_with(wanted), "{text}");
    assert!(text.contains("\n  3 | failure_rate = \"130%\"\n    | ^\n"), "{text}");
    assert!(text.contains("max_wait"), "{text}");
    assert!(text.ends_with(" problems in 1 file\n"), "{text}");
    let json: Value = serde_json::from_str(&local(&["check", &path, "--json"]).out).unwrap();
    assert_eq!(
        (&json["valid"], &json["problems"][0]["line"], &json["problems"][0]["column"]),
        (&false.into(), &2.into(), &1.into())
    );
    assert!(json["problems"][0]["problem"].as_str().unwrap().contains("open_for"), "{json}");
}

#[test]
fn a_valid_file_is_reported_and_the_variables_are_checked_once() {
    let folder = Folder::new("variables");
    let (a, b) = (folder.write("a.toml", "[retry.stock]\nmax = 5\n"), folder.write("b.toml", "# nothing\n"));
    let ran = local(&["check", &a, &b]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "ok: 2 files without problems\n"));
    let with_variable =
        |args: &[&str]| run(command("http://127.0.0.1:1", args).env("RESILIENT__RETRY__STOCK__MAX", "often"));
    let ran = with_variable(&["check", &a, &b]);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.out.matches("RESILIENT__RETRY__STOCK__MAX: ").count(), 1, "{}", ran.out);
    assert!(ran.out.ends_with("1 problem in 2 files\n"), "{}", ran.out);
    assert_eq!(with_variable(&["check", &a, "--no-env"]).code, 0);
    assert_eq!(with_variable(&["check", &a, "--env-prefix", "SHOP"]).code, 0);
    let json: Value = serde_json::from_str(&with_variable(&["check", &a, "--json"]).out).unwrap();
    assert_eq!(json["problems"][0]["variable"], "RESILIENT__RETRY__STOCK__MAX");
}

#[test]
fn a_file_that_cannot_be_read_is_another_error_than_a_wrong_one() {
    let folder = Folder::new("unreadable");
    let good = folder.write("good.toml", "[retry.stock]\nmax = 5\n");
    let missing = folder.0.join("missing.toml");
    for path in [missing.to_str().unwrap(), folder.0.to_str().unwrap(), "/dev/zero"] {
        let ran = local(&["check", &good, path]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{path}");
        assert!(ran.err.contains(path), "{}", ran.err);
    }
    assert_eq!(local(&["check"]).code, 2);
}

#[test]
fn a_hostile_file_is_checked_without_an_effect_on_the_terminal() {
    let folder = Folder::new("hostile");
    let long = format!("[retry.stock]\n{}max = \"\u{1b}[2J\"\n", " ".repeat(5000));
    for (name, text) in [
        ("escape.toml", b"[retry.\"\x1b[31m\"]\nma\x1bx = 3\n".to_vec()),
        ("direction.toml", "[retry.stock]\n\"\u{202e}xam\" = 3\n".into()),
        ("long.toml", long.into()),
        ("wide.toml", "[retry.\"支付\"]\nmax = \"支\"\n\t\tbase = 7\n".into()),
        ("binary.toml", vec![0xff, 0xfe, 0x00]),
        ("huge.toml", "[retry.stock]\nmax = 99999999999999999999999999\n".into()),
        ("empty.toml", Vec::new()),
    ] {
        let path = folder.write(name, text);
        let ran = local(&["check", &path]);
        assert_eq!(ran.code, 1, "{name}: {ran:?}");
        assert!(!ran.out.contains(['\u{1b}', '\u{202e}']), "{name}: {:?}", ran.out);
        assert!(ran.out.lines().all(|line| line.chars().count() < 700), "{name}: {}", ran.out);
    }
}

#[test]
fn the_schema_is_the_one_of_the_repository() {
    let ran = local(&["schema"]);
    let known = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../resilient.schema.json")).unwrap();
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(json(&ran.out), json(&known));
}

#[test]
fn completions_and_manual_pages_are_generated() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = local(&["completions", shell]);
        assert!(ran.code == 0 && ran.out.contains("resilient") && ran.out.contains("resume"), "{shell}");
    }
    let page = local(&["man"]).out;
    assert!(page.contains(".TH resilient 1") && page.contains("Exit codes"), "{page}");
    assert!(local(&["man", "check"]).out.contains(".TH resilient-check 1"));
    assert_eq!(local(&["man", "chek"]).code, 2);
}

#[test]
fn help_and_usage_errors_follow_the_conventions() {
    let help = local(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    assert!(help.out.contains("Exit codes:") && !help.out.contains('\u{1b}'), "{}", help.out);
    let wrong = local(&["chek"]);
    assert_eq!((wrong.code, wrong.out.as_str()), (2, ""));
    assert!(wrong.err.contains("check"), "{}", wrong.err);
    assert_eq!(local(&["stats", "--timeout", "99999999999999999999s"]).code, 2);
    assert_eq!(local(&["open", ""]).code, 2);
    let top = local(&["top"]);
    assert!(top.code == 2 && top.err.contains("needs a terminal"), "{top:?}");
}

#[test]
fn the_plan_of_a_scenario_is_shown_and_its_problems_are_reported() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../resilient-chaos/scenarios/dependency-down.toml");
    let ran = local(&["experiment", "plan", shipped]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(ran.out.contains("Timeline:") && !ran.out.contains("It would be refused"), "{ran:?}");
    let folder = Folder::new("scenario");
    let path = folder.write("wrong.toml", "[scenario]\nnaem = \"a\"\n");
    let ran = local(&["experiment", "plan", &path]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("`naem`") && ran.out.contains("`name`"), "{ran:?}");
    let json: Value = serde_json::from_str(&local(&["experiment", "plan", &path, "--json"]).out).unwrap();
    assert_eq!((&json["valid"], &json["problems"][0]["line"].is_u64()), (&false.into(), &true));
    assert_eq!(local(&["experiment", "plan", "/no/such/file"]).code, 2);
}

#[test]
fn the_fault_proxy_prints_its_address_and_serves_the_api() {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_resilient"))
        .args(["proxy", "--listen", "127.0.0.1:0"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(program.stdout.take().unwrap()), &mut line)
        .unwrap();
    let url = line.trim().strip_prefix("Fault proxy API: ").unwrap().to_owned();
    let version = ureq::get(format!("{url}/version")).call().unwrap().into_body().read_to_string().unwrap();
    program.kill().unwrap();
    program.wait().unwrap();
    assert!(version.contains("2.12"), "{version}");
    let open = local(&["proxy", "--listen", "0.0.0.0:0"]);
    assert_eq!(open.code, 2, "{open:?}");
    assert!(open.err.contains("without a token"), "{open:?}");
}
