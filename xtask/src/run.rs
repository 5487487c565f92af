//! Runs steps in sequence, prints how long each took, and stops at the first that fails.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// One step of a task.
pub(crate) struct Step {
    name: &'static str,
    action: Action,
}

enum Action {
    Cargo { args: Vec<String>, env: Vec<(&'static str, &'static str)> },
    Task(fn() -> Result<(), String>),
}

impl Step {
    /// A cargo command.
    pub(crate) fn cargo(name: &'static str, args: &[&str]) -> Self {
        let args = args.iter().map(ToString::to_string).collect();
        Self { name, action: Action::Cargo { args, env: Vec::new() } }
    }

    /// A function of this crate.
    pub(crate) fn task(name: &'static str, task: fn() -> Result<(), String>) -> Self {
        Self { name, action: Action::Task(task) }
    }

    /// Sets an environment variable of a cargo command.
    pub(crate) fn env(mut self, key: &'static str, value: &'static str) -> Self {
        if let Action::Cargo { env, .. } = &mut self.action {
            env.push((key, value));
        }
        self
    }

    fn run(&self) -> Result<(), String> {
        let (args, env) = match &self.action {
            Action::Cargo { args, env } => (args, env),
            Action::Task(task) => return task(),
        };
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(args).envs(env.iter().copied()).stdin(Stdio::null());
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(status.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The folder of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

/// The target directory.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Runs a command that must succeed.
pub(crate) fn succeed(command: &mut Command) -> Result<(), String> {
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

/// Whether a command can be started.
pub(crate) fn has(command: &str) -> bool {
    let silent = Command::new(command).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    silent.is_ok_and(|status| status.success())
}

/// Installs a system package, for CI machines, which are new each time. Returns whether it succeeded.
pub(crate) fn installed(package: &str) -> bool {
    let apt = |args: &[&str]| {
        let status = Command::new("apt-get").args(args).stdout(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    apt(&["-qq", "update"]) && apt(&["-qq", "install", "-y", "--no-install-recommends", package])
}

/// Creates a Python virtual environment, unless it exists, and installs the packages of a requirements file in it.
pub(crate) fn python_environment(folder: &Path, requirements: &Path) -> Result<(), String> {
    if !has("python3") {
        return Err("this task needs `python3`".to_owned());
    }
    let pip = folder.join("bin/pip");
    if !pip.exists() {
        let make = || succeed(Command::new("python3").args(["-m", "venv"]).arg(folder));
        // On some systems, `venv` is a separate package.
        make().or_else(|problem| if installed("python3-venv") { make() } else { Err(problem) })?;
    }
    let mut install = Command::new(pip);
    install.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(requirements);
    succeed(&mut install)
}

/// Runs all steps.
pub(crate) fn steps(steps: &[Step]) -> ExitCode {
    let mut times: Vec<(&str, Duration)> = Vec::new();
    for step in steps {
        match &step.action {
            Action::Cargo { args, .. } => println!("\n=== {}: cargo {}", step.name, args.join(" ")),
            Action::Task(_) => println!("\n=== {}", step.name),
        }
        let start = Instant::now();
        if let Err(problem) = step.run() {
            eprintln!("\n=== {} failed: {problem}", step.name);
            return ExitCode::FAILURE;
        }
        times.push((step.name, start.elapsed()));
    }
    println!("\n=== all steps succeeded");
    for (name, time) in &times {
        println!("{:>7.1} s  {name}", time.as_secs_f64());
    }
    let total: Duration = times.iter().map(|(_, time)| *time).sum();
    println!("{:>7.1} s  total", total.as_secs_f64());
    ExitCode::SUCCESS
}
