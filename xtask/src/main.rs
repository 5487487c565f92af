//! Tasks for contributors and CI: `cargo xtask` lists them.

mod api;
mod browser;
#[cfg(test)]
mod imports;
mod instructions;
#[cfg(test)]
mod invariants;
mod load;
mod postgres;
mod prose;
mod proxy;
mod public_api;
mod redis;
mod run;

use std::process::ExitCode;

use run::{Step, steps};

/// A task: its name, what it does, and its steps.
type Task = (&'static str, &'static str, fn() -> Vec<Step>);

const TASKS: &[Task] = &[
    (
        "test",
        "format, lints, all tests, models and documentation, as in CI; `--under-load` keeps all cores busy",
        test,
    ),
    ("tests", "only the tests; `--under-load` keeps all cores busy", tests),
    ("models", "checks the lock-free code with the loom model checker", models),
    (
        "instructions",
        "compares the instructions per call with their budgets; `--write` updates the budgets",
        count_instructions,
    ),
    ("bench", "benchmarks with other libraries: writes benches/RESULTS.md; `--quick` only prints", bench),
    ("browser", "tests the dashboard in Chromium with Playwright (installs both)", test_dashboard),
    (
        "api",
        "tests the HTTP API against its OpenAPI document with Schemathesis, and its metrics (installs it)",
        test_api,
    ),
    (
        "proxy",
        "tests the fault proxy with clients of Toxiproxy for Node and Python (installs them)",
        test_proxy,
    ),
    (
        "redis",
        "tests the store of `resilient-redis` on real servers (installs `redis-server` and `redis-sentinel`)",
        test_redis,
    ),
    (
        "postgres",
        "tests the store of `resilient-postgres` on real servers (installs `PostgreSQL` and pgbouncer)",
        test_postgres,
    ),
    (
        "replica",
        "tests replica sets of several processes over real servers that fail (installs the servers)",
        test_replica,
    ),
    (
        "public-api",
        "writes docs/public-api.txt, on a nightly toolchain (installs cargo-public-api)",
        list_public_items,
    ),
    ("screenshots", "takes the screenshots in the documentation, in Chromium", screenshots),
    ("prose", "searches all texts for phrases that readers find hard (xtask/prose/words.txt)", prose),
    ("deny", "checks licenses and sources of all dependencies (installs cargo-deny)", deny),
];

fn main() -> ExitCode {
    let asked = std::env::args().nth(1);
    if asked.as_deref() == Some(load::BUSY) {
        load::keep_busy();
    }
    let task = TASKS.iter().find(|(name, ..)| Some(*name) == asked.as_deref());
    let Some((_, _, plan)) = task else {
        if let Some(unknown) = &asked {
            eprintln!("unknown task `{unknown}`");
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
            eprintln!("cannot start the load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn test() -> Vec<Step> {
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    let mut steps = vec![
        Step::cargo("format", &["fmt", "--all", "--check"]),
        search_prose(),
        Step::cargo("lints", &clippy),
        Step::cargo("no default features", &["check", "-p", "resilient-runtime", "--no-default-features"]),
        Step::cargo("no TLS", &["check", "-p", "resilient-cli", "--no-default-features"]),
    ];
    steps.extend(features_alone());
    steps.extend(tests());
    steps.push(Step::cargo("doc tests", &["test", "--workspace", "--all-features", "--doc"]));
    let doc = ["doc", "--workspace", "--no-deps", "--all-features"];
    steps.push(Step::cargo("documentation", &doc).env("RUSTDOCFLAGS", "-D warnings"));
    steps.extend([browser(), api()]);
    steps.extend(test_proxy());
    steps.extend(test_redis());
    steps.extend(test_postgres());
    steps.extend(models());
    steps.extend(count_instructions());
    steps
}

fn tests() -> Vec<Step> {
    let example = Step::cargo("the main example", &["build", "--example", "payments"]);
    let tests = if run::has("cargo-nextest") {
        Step::cargo("tests", &["nextest", "run", "--workspace", "--all-features"])
    } else {
        // All targets except doc tests, and except benchmarks, which would run.
        let test = ["test", "--workspace", "--all-features", "--lib", "--bins", "--tests", "--examples"];
        Step::cargo("tests", &test)
    };
    vec![example, tests]
}

/// Checks each feature without the others, because a feature must not depend on another one being enabled.
fn features_alone() -> impl Iterator<Item = Step> {
    const FEATURES: [(&str, &[&str]); 6] = [
        (
            "resilient-runtime",
            &[
                "anyhow",
                "chaos",
                "config-file",
                "durable",
                "eyre",
                "http",
                "redis",
                "reqwest",
                "sqlx",
                "testing",
                "tonic",
            ],
        ),
        ("resilient-http", &["chaos", "reqwest", "otel", "metrics", "replica"]),
        ("resilient-chaos", &["experiments", "proxy"]),
        ("resilient-redis", &["tls"]),
        ("resilient-postgres", &["tls"]),
        ("resilient-replica", &["durable"]),
    ];
    let all =
        FEATURES.into_iter().flat_map(|(package, features)| features.iter().map(move |one| (package, *one)));
    all.map(|(package, feature)| {
        let check = ["check", "--quiet", "-p", package, "--no-default-features", "--features", feature];
        Step::cargo("a single feature", &check)
    })
}

fn test_dashboard() -> Vec<Step> {
    vec![Step::cargo("the main example", &["build", "--example", "payments"]), browser()]
}

fn test_api() -> Vec<Step> {
    vec![Step::cargo("the main example", &["build", "--example", "payments"]), api()]
}

fn test_proxy() -> Vec<Step> {
    let build = ["build", "-p", "resilient-chaos", "--example", "fault_proxy"];
    vec![
        Step::cargo("the fault proxy", &build),
        Step::task("the fault proxy with clients of Toxiproxy", proxy::check),
    ]
}

fn test_redis() -> Vec<Step> {
    let server = Step::task("redis-server and redis-sentinel", redis::install);
    // The tests mostly wait, for failovers and time limits.
    vec![server, on_servers("the store in Redis", "resilient-redis", "4")]
}

fn test_postgres() -> Vec<Step> {
    let server = Step::task("PostgreSQL", postgres::install);
    vec![server, on_servers("the store in PostgreSQL", "resilient-postgres", "num-cpus")]
}

fn test_replica() -> Vec<Step> {
    vec![
        Step::task("redis-server and PostgreSQL", postgres::install),
        on_servers("replica sets over servers", "resilient-replica", "num-cpus"),
    ]
}

/// The tests that start servers, so many at the same time. They are ignored in the other steps.
fn on_servers(name: &'static str, package: &str, threads: &str) -> Step {
    if run::has("cargo-nextest") {
        let all = ["nextest", "run", "--workspace", "--all-features", "--run-ignored", "only"];
        let chosen = ["--test-threads", threads, "-E", &format!("package({package})")];
        Step::cargo(name, &[&all[..], &chosen].concat())
    } else {
        Step::cargo(name, &["test", "-p", package, "--all-features", "--lib", "--tests", "--", "--ignored"])
    }
}

fn api() -> Step {
    Step::task("the HTTP API", api::check)
}

fn browser() -> Step {
    Step::task("the dashboard in a browser", browser::check)
}

fn count_instructions() -> Vec<Step> {
    let write = std::env::args().any(|arg| arg == "--write");
    vec![Step::task("instructions", if write { instructions::write } else { instructions::check })]
}

fn models() -> Vec<Step> {
    // A separate target directory, because other flags would rebuild everything twice.
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

fn screenshots() -> Vec<Step> {
    let build = Step::cargo("the main example", &["build", "--example", "payments"]);
    vec![build, Step::task("screenshots", browser::screenshots)]
}

fn prose() -> Vec<Step> {
    vec![search_prose()]
}

fn search_prose() -> Step {
    Step::task("prose", prose::check)
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
