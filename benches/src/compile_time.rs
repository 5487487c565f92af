//! Compile time of the attribute, compared with `#[tracing::instrument(skip_all)]` and without an attribute.
//!
//! Three crates have the same functions with different attributes, in a separate workspace in `target/compile-time`.
//! Their dependencies are compiled beforehand. Then the crates are compiled repeatedly and alternately (bare,
//! instrument, resilient, bare ..), so that a drift of the machine's speed affects all of them equally. Incremental
//! compilation is off, profiles have cargo's defaults, and the crates are libraries, so that nothing is linked.
//!
//! Each function is also boxed as a `dyn Future + Send`, like a spawned task or a handler. Otherwise rustc would not
//! generate code for its body, because nothing in a library polls it.

use std::fmt::{self, Write};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Attribute of each function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// No attribute.
    Bare,
    /// `#[tracing::instrument(skip_all)]`
    Instrument,
    /// `#[resilient(circuit_breaker = "c17", retry(max = 3), bulkhead = "b17", timeout = "1s")]`
    Resilient,
}

/// How the crate is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `cargo check`
    Check,
    /// `cargo build`
    Dev,
    /// `cargo build --release`
    Release,
}

/// Samples of one figure, in milliseconds for the whole crate, including the start of cargo.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The median sample.
    pub median: f64,
    /// The fastest sample.
    pub min: f64,
    /// The slowest sample.
    pub max: f64,
}

/// The compile time of one crate in one profile.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// The crate.
    pub variant: Variant,
    /// The profile.
    pub profile: Profile,
    /// Elapsed time.
    pub wall: Spread,
    /// CPU time of cargo and rustc, user and system, which other load affects less.
    ///
    /// Linux only, with a resolution of 10 ms.
    pub cpu: Option<Spread>,
    /// `wall.median` over the number of functions.
    pub per_function: f64,
}

/// Ratio of `resilient` to `instrument`, from the medians of one profile.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    /// The profile.
    pub profile: Profile,
    /// `(resilient - bare) / (instrument - bare)` of elapsed time: what each attribute adds to a function.
    ///
    /// The goal refers to this ratio.
    pub added: f64,
    /// The same ratio of CPU time.
    pub added_cpu: Option<f64>,
    /// `resilient / instrument` of elapsed time, including the functions.
    pub whole: f64,
}

/// All measurements.
#[derive(Clone, Debug)]
pub struct CompileTime {
    /// Number of functions per crate.
    pub functions: u32,
    /// A figure for each profile and variant.
    pub figures: Vec<Figure>,
    /// A ratio for each profile.
    pub ratios: Vec<Ratio>,
    /// Bytes of expanded source text per function, as `rustc -Zunpretty=expanded` prints it, including the function.
    pub expansion: Vec<(Variant, f64)>,
}

const VARIANTS: [Variant; 3] = [Variant::Bare, Variant::Instrument, Variant::Resilient];
const PROFILES: [Profile; 3] = [Profile::Check, Profile::Dev, Profile::Release];

/// Compiles crates of `functions` functions, `samples` times each.
///
/// This takes minutes. It works offline if the dependencies of this workspace are in the cache of cargo.
///
/// # Errors
/// Returns an error if a file cannot be written, a command fails, or cargo compiles more than the measured crate.
pub fn measure(samples: usize, functions: u32) -> Result<CompileTime, String> {
    if samples == 0 || functions == 0 {
        return Err("nothing to measure: no samples or no functions".to_owned());
    }
    let workspace = Workspace::write(functions)?;
    let expansion = VARIANTS.iter().map(|variant| Ok((*variant, workspace.expansion(*variant)?)));
    let expansion = expansion.collect::<Result<_, String>>()?;

    let mut figures = Vec::new();
    let mut ratios = Vec::new();
    for profile in PROFILES {
        // Compiles all dependencies, and each crate once.
        workspace.cargo(profile, &["--workspace"])?;
        let mut times = VARIANTS.map(|_| (Vec::new(), Vec::new()));
        for sample in 0..samples {
            for (variant, (wall, cpu)) in VARIANTS.iter().zip(&mut times) {
                let (passed, spent) = workspace.sample(*variant, profile, sample)?;
                wall.push(passed);
                cpu.extend(spent);
            }
        }
        let of_profile = VARIANTS.iter().zip(times).map(|(variant, (wall, cpu))| {
            let wall = Spread::of(wall);
            let per_function = wall.median / f64::from(functions);
            let cpu = (cpu.len() == samples).then(|| Spread::of(cpu));
            Figure { variant: *variant, profile, wall, cpu, per_function }
        });
        let of_profile: Vec<_> = of_profile.collect();
        if let [bare, instrument, resilient] = &of_profile[..] {
            ratios.push(Ratio::of(bare, instrument, resilient));
        }
        figures.extend(of_profile);
    }
    Ok(CompileTime { functions, figures, ratios, expansion })
}

impl Variant {
    /// Name of the crate. No dependency has this name.
    fn package(self) -> String {
        format!("compile_{self}")
    }
}

impl Spread {
    fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self { median: samples[samples.len() / 2], min: samples[0], max: samples[samples.len() - 1] }
    }
}

impl Ratio {
    fn of(bare: &Figure, instrument: &Figure, resilient: &Figure) -> Self {
        let added = |of: &dyn Fn(&Figure) -> Option<f64>| {
            Some((of(resilient)? - of(bare)?) / (of(instrument)? - of(bare)?))
        };
        Self {
            profile: bare.profile,
            added: (resilient.wall.median - bare.wall.median) / (instrument.wall.median - bare.wall.median),
            added_cpu: added(&|figure| figure.cpu.map(|cpu| cpu.median)),
            whole: resilient.wall.median / instrument.wall.median,
        }
    }
}

/// The generated crates.
struct Workspace {
    folder: PathBuf,
    functions: u32,
}

impl Workspace {
    fn write(functions: u32) -> Result<Self, String> {
        let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = benches.parent().ok_or("the benchmarks are not in a workspace")?;
        let lock = read(&root.join("Cargo.lock"))?;
        let workspace = Self { folder: root.join("target/compile-time"), functions };
        let members = VARIANTS.map(|variant| format!("\"{}\"", variant.package())).join(", ");
        let manifest = format!("[workspace]\nresolver = \"3\"\nmembers = [{members}]\n");
        write(&workspace.folder.join("Cargo.toml"), &manifest)?;
        // With the lock file, cargo does not resolve versions again. It removes unused entries.
        write(&workspace.folder.join("Cargo.lock"), &lock)?;
        for variant in VARIANTS {
            let manifest =
                manifest_of(variant, &root.join("resilient-runtime"), version_of("tracing", &lock)?);
            write(&workspace.folder.join(format!("{}/Cargo.toml", variant.package())), &manifest)?;
            write(&workspace.source(variant), &source(variant, functions, 0))?;
        }
        Ok(workspace)
    }

    fn source(&self, variant: Variant) -> PathBuf {
        self.folder.join(format!("{}/src/lib.rs", variant.package()))
    }

    /// Compiles one crate. Returns the elapsed time and the CPU time in milliseconds.
    fn sample(
        &self,
        variant: Variant,
        profile: Profile,
        sample: usize,
    ) -> Result<(f64, Option<f64>), String> {
        // Writes different source code, because cargo compares modification times and could consider it unchanged.
        write(&self.source(variant), &source(variant, self.functions, sample + 1))?;
        let (before, start) = (children_cpu(), Instant::now());
        let messages = self.cargo(profile, &["-p", &variant.package(), "--message-format=json"])?;
        let passed = start.elapsed().as_secs_f64() * 1e3;
        let spent = children_cpu().zip(before).map(|(after, before)| after - before);

        let compiled: Vec<_> = messages.lines().filter(|line| line.contains("\"fresh\":false")).collect();
        let own = format!("\"name\":\"{}\"", variant.package());
        match &compiled[..] {
            [one] if one.contains(&own) => Ok((passed, spent)),
            _ => Err(format!(
                "cargo compiled {} crates instead of only `{variant}`: {compiled:?}",
                compiled.len()
            )),
        }
    }

    /// Bytes of expanded source text per function.
    fn expansion(&self, variant: Variant) -> Result<f64, String> {
        let mut cargo = self.command("rustc");
        // A separate target directory, because build scripts run again if this variable changes.
        cargo.env("RUSTC_BOOTSTRAP", "1").args(["--target-dir", "target/expanded", "--profile", "check"]);
        cargo.args(["-p", &variant.package(), "--", "-Zunpretty=expanded"]);
        let text = run(&mut cargo)?;
        let (_, functions) = text.split_once("mod functions {").ok_or("the expansion has no functions")?;
        let bytes = u32::try_from(functions.len()).map_err(|_| "the expansion is too long")?;
        Ok(f64::from(bytes) / f64::from(self.functions))
    }

    fn cargo(&self, profile: Profile, arguments: &[&str]) -> Result<String, String> {
        let mut cargo = match profile {
            Profile::Check => self.command("check"),
            Profile::Dev | Profile::Release => self.command("build"),
        };
        if profile == Profile::Release {
            cargo.arg("--release");
        }
        run(cargo.args(["--target-dir", "target"]).args(arguments))
    }

    fn command(&self, subcommand: &str) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.folder).env("CARGO_INCREMENTAL", "0");
        cargo.args([subcommand, "--quiet", "--offline"]);
        cargo
    }
}

fn manifest_of(variant: Variant, runtime: &Path, tracing: &str) -> String {
    // A literal string, because the path can contain backslashes.
    let runtime = runtime.display();
    format!(
        "[package]\nname = \"{}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n\
         resilient-runtime = {{ path = '{runtime}' }}\n\
         tracing = {{ version = \"={tracing}\", default-features = false, features = [\"std\", \"attributes\"] }}\n",
        variant.package()
    )
}

fn version_of<'a>(package: &str, lock: &'a str) -> Result<&'a str, String> {
    let entry = format!("name = \"{package}\"\nversion = \"");
    let version = lock.split_once(&entry).and_then(|(_, rest)| rest.split('"').next());
    version.ok_or_else(|| format!("`{package}` is not in Cargo.lock"))
}

/// Common beginning of all three crates.
const HEAD: &str = r#"
use std::future::Future;
use std::pin::Pin;

#[derive(Debug)]
pub enum Error {
    Odd(u64),
    Rejected(resilient_runtime::Rejection),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("odd or rejected")
    }
}

impl std::error::Error for Error {}

impl From<resilient_runtime::Rejection> for Error {
    fn from(rejection: resilient_runtime::Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

pub async fn step(input: u64) -> Result<u64, Error> {
    if input % 2 == 1 { Err(Error::Odd(input)) } else { Ok(input / 2) }
}

pub type Boxed = Pin<Box<dyn Future<Output = Result<u64, Error>> + Send>>;
"#;

/// Source code of a crate. The functions come last, as `expansion` expects.
fn source(variant: Variant, functions: u32, sample: usize) -> String {
    let mut text =
        format!("// Sample {sample}.\n{HEAD}\npub mod boxed {{\n    use super::{{Boxed, functions}};\n");
    for n in 0..functions {
        let _ = writeln!(text, "    pub fn f{n}(input: u64) -> Boxed {{ Box::pin(functions::f{n}(input)) }}");
    }
    text.push_str("}\n\npub mod functions {\n    use super::{Error, step};\n");
    for n in 0..functions {
        let attribute = match variant {
            Variant::Bare => String::new(),
            Variant::Instrument => "#[tracing::instrument(skip_all)]".to_owned(),
            Variant::Resilient => format!(
                "#[resilient_runtime::resilient(circuit_breaker = \"c{n}\", retry(max = 3), bulkhead = \"b{n}\", \
                 timeout = \"1s\")]"
            ),
        };
        let _ = writeln!(
            text,
            "    {attribute}\n    pub async fn f{n}(input: u64) -> Result<u64, Error> {{\n        \
             let half = step(input).await?;\n        if half == {n} {{\n            return Err(Error::Odd(half));\n        \
             }}\n        Ok(half + {n})\n    }}"
        );
    }
    text.push_str("}\n");
    text
}

/// CPU time of all ended child processes, in milliseconds.
fn children_cpu() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The fields after the program name, which can contain any character: `cutime` and `cstime` are the 14th and 15th.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u32 =
        fields.split_whitespace().skip(13).take(2).filter_map(|field| field.parse::<u32>().ok()).sum();
    // Linux reports a hundred ticks per second, whatever its internal resolution is.
    Some(f64::from(ticks) * 10.0)
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{command:?}: {error}"))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, text)).map_err(|error| format!("{}: {error}", path.display()))
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bare => "bare",
            Self::Instrument => "instrument",
            Self::Resilient => "resilient",
        })
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Check => "cargo check",
            Self::Dev => "cargo build",
            Self::Release => "cargo build --release",
        })
    }
}
