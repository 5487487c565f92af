//! What a contributor and CI run: `cargo xtask` lists it.

mod api;
mod browser;
#[cfg(test)]
mod imports;
mod instructions;
mod load;
mod public_api;
mod run;

use std::process::ExitCode;

use run::{Step, steps};

/// A task: its name, what it does, and its steps.
type Task = (&'static str, &'static str, fn() -> Vec<Step>);

const TASKS: &[Task] = &[
    (
        "test",
        "format, lints, every test, models, documentation: what CI runs; `--under-load` keeps all cores busy meanwhile",
        test,
    ),
    ("tests", "the tests alone; `--under-load` keeps all cores busy meanwhile", tests),
    ("models", "the lock-free parts under the loom model checker", models),
    (
        "instructions",
        "instructions for each call against their budget; `--write` sets it",
        count_instructions,
    ),
    ("bench", "the benchmarks beside the peers: writes benches/RESULTS.md; `--quick` only shows", bench),
    ("browser", "the dashboard in Chromium, driven by Playwright (installs both)", look),
    ("api", "the API against its document, by Schemathesis, and its metrics (installs it)", ask),
    (
        "public-api",
        "writes docs/public-api.txt, on a nightly toolchain (installs cargo-public-api)",
        list_public_items,
    ),
    ("deny", "licences and sources of all dependencies (installs cargo-deny)", deny),
];

fn main() -> ExitCode {
    let asked = std::env::args().nth(1);
    if asked.as_deref() == Some(load::BUSY) {
        load::keep_busy();
    }
    let task = TASKS.iter().find(|(name, ..)| Some(*name) == asked.as_deref());
    let Some((_, _, plan)) = task else {
        if let Some(unknown) = &asked {
            eprintln!("there is no task `{unknown}`");
        }
        println!("cargo xtask <task>");
        for (name, about, _) in TASKS {
            println!("  {name:<12} {about}");
        }
        return if asked.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    };
    let load = std::env::args().any(|arg| arg == "--under-load").then(load::Load::start).transpose();
    match load {
        Ok(_load) => steps(&plan()),
        Err(error) => {
            eprintln!("the cores cannot be kept busy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn test() -> Vec<Step> {
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    let mut steps = vec![
        Step::cargo("format", &["fmt", "--all", "--check"]),
        Step::cargo("lints", &clippy),
        Step::cargo("no default features", &["check", "-p", "resilient-runtime", "--no-default-features"]),
    ];
    steps.extend(features_alone());
    steps.extend(tests());
    steps.push(Step::cargo("documentation's examples", &["test", "--workspace", "--all-features", "--doc"]));
    let doc = ["doc", "--workspace", "--no-deps", "--all-features"];
    steps.push(Step::cargo("documentation", &doc).env("RUSTDOCFLAGS", "-D warnings"));
    steps.extend([browser(), api()]);
    steps.extend(models());
    steps.extend(count_instructions());
    steps
}

fn tests() -> Vec<Step> {
    let example = Step::cargo("the main example", &["build", "--example", "payments"]);
    let tests = if run::has("cargo-nextest") {
        Step::cargo("tests", &["nextest", "run", "--workspace", "--all-features"])
    } else {
        // All targets but the documentation's, and not the benchmarks, which would run.
        let test = ["test", "--workspace", "--all-features", "--lib", "--bins", "--tests", "--examples"];
        Step::cargo("tests", &test)
    };
    vec![example, tests]
}

/// Each feature without the others: what one needs must not come with another.
fn features_alone() -> impl Iterator<Item = Step> {
    const FEATURES: [(&str, &[&str]); 2] = [
        (
            "resilient-runtime",
            &["anyhow", "eyre", "http", "redis", "reqwest", "sqlx", "tonic", "config-file", "durable"],
        ),
        ("resilient-http", &["reqwest", "otel", "metrics"]),
    ];
    let all =
        FEATURES.into_iter().flat_map(|(package, features)| features.iter().map(move |one| (package, *one)));
    all.map(|(package, feature)| {
        let check = ["check", "--quiet", "-p", package, "--no-default-features", "--features", feature];
        Step::cargo("a feature alone", &check)
    })
}

fn look() -> Vec<Step> {
    vec![Step::cargo("the main example", &["build", "--example", "payments"]), browser()]
}

fn ask() -> Vec<Step> {
    vec![Step::cargo("the main example", &["build", "--example", "payments"]), api()]
}

fn api() -> Step {
    Step::task("the API against its document", api::check)
}

fn browser() -> Step {
    Step::task("the dashboard in a browser", browser::check)
}

fn count_instructions() -> Vec<Step> {
    let write = std::env::args().any(|arg| arg == "--write");
    vec![Step::task("instructions", if write { instructions::write } else { instructions::check })]
}

fn models() -> Vec<Step> {
    // A folder of its own: other flags would rebuild everything, twice.
    let models = ["test", "-p", "resilient-runtime", "--lib", "--release", "--target-dir", "target/models"];
    vec![Step::cargo("models", &[&models[..], &["loom"]].concat()).env("RUSTFLAGS", "--cfg resilient_loom")]
}

fn bench() -> Vec<Step> {
    let rest: Vec<String> = std::env::args().skip(2).collect();
    let program = ["-p", "resilient-benches", "--release", "--features", "peers"];
    let build = Step::cargo("build", &[&["build", "--bins"][..], &program].concat());
    let run = [&["run", "--bin", "resilient-benches"][..], &program, &["--"]].concat();
    let run: Vec<&str> = run.into_iter().chain(rest.iter().map(String::as_str)).collect();
    let example = Step::cargo("the main example", &["build", "--release", "--example", "payments"]);
    vec![build, example, Step::cargo("benchmarks", &run)]
}

fn list_public_items() -> Vec<Step> {
    vec![Step::task("the public items of the libraries", public_api::write)]
}

fn deny() -> Vec<Step> {
    let mut steps = Vec::new();
    if !run::has("cargo-deny") {
        steps.push(Step::cargo("cargo-deny", &["install", "--locked", "cargo-deny"]));
    }
    steps.push(Step::cargo("dependencies", &["deny", "check", "bans", "licenses", "sources"]));
    steps
}
