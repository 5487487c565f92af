//! Finds the URL and the token: options, environment variables, and the configuration file of this program.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};
use ureq::http::Uri;

use crate::cli::Global;
use crate::duration;
use crate::failure::Failure;
use crate::secret::Secret;

/// The address of the example `payments`.
const URL: &str = "http://127.0.0.1:3000";
const PREFIX: &str = "/api/resilience";
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a token file and of the configuration file, in bytes.
const LARGEST: u64 = 64 * 1024;
const KEYS: [&str; 6] = ["url", "prefix", "token", "token_file", "timeout", "ca"];

/// Where the admin API is, and how to authenticate.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// The URL of the API, without a slash at the end.
    pub(crate) base: String,
    /// The origin of the URL, for error messages.
    pub(crate) url_from: String,
    pub(crate) token: Option<Secret>,
    /// The origin of the token, for error messages.
    pub(crate) token_from: String,
    pub(crate) timeout: Duration,
    /// The file with the certificate authorities that are trusted. By default, the system decides.
    #[cfg_attr(not(feature = "tls"), allow(dead_code))]
    pub(crate) ca: Option<PathBuf>,
}

impl Connection {
    /// Finds the connection. Also returns warnings.
    pub(crate) fn find(global: &Global) -> Result<(Self, Vec<String>), Failure> {
        Self::find_with(global, |name| std::env::var_os(name))
    }

    fn find_with(
        global: &Global,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<(Self, Vec<String>), Failure> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let mut warnings = Vec::new();
        let file = match config_path(&variable) {
            Some(path) => OwnConfig::read(&path)?,
            None => OwnConfig::default(),
        };
        let text = |name: &str, value: OsString| {
            value.into_string().map_err(|_| Failure::usage(format!("the variable {name} is not UTF-8")))
        };
        let (url, url_from) = match (&global.url, variable("RESILIENT_URL"), &file.url) {
            (Some(url), ..) => (url.clone(), "the option --url".to_owned()),
            (None, Some(url), _) => (text("RESILIENT_URL", url)?, "the variable RESILIENT_URL".into()),
            (None, None, Some(url)) => (url.clone(), file.name()),
            (None, None, None) => (URL.to_owned(), "the default".into()),
        };
        let prefix = global.prefix.as_deref().or(file.prefix.as_deref()).unwrap_or(PREFIX);
        let base = base(&url, prefix, &url_from)?;
        let (token, token_from) = match (&global.token, &global.token_file, variable("RESILIENT_TOKEN")) {
            (Some(token), ..) => {
                warnings.push("a token in an argument is visible in the list of processes; use RESILIENT_TOKEN or --token-file".into());
                (Some(token.clone()), "the option --token".to_owned())
            }
            (None, Some(path), _) => {
                (Some(token_file(path, &mut warnings)?), format!("the file {}", path.display()))
            }
            (None, None, Some(token)) => {
                let token = Secret::new(&text("RESILIENT_TOKEN", token)?);
                (Some(token), "the variable RESILIENT_TOKEN".into())
            }
            (None, None, None) => match (&file.token, &file.token_file) {
                (Some(token), _) => {
                    warnings.extend(readable_by_others(&file.path));
                    (Some(token.clone()), file.name())
                }
                (None, Some(path)) => {
                    (Some(token_file(path, &mut warnings)?), format!("the file {}", path.display()))
                }
                (None, None) => (None, String::new()),
            },
        };
        if token.as_ref().is_some_and(|token| token.is_empty() || !token.is_sendable()) {
            return Err(Failure::usage(format!(
                "the token from {token_from} is empty, or has characters other than visible ASCII"
            )));
        }
        let timeout = global.timeout.or(file.timeout).unwrap_or(TIMEOUT);
        let connection = Self {
            base,
            url_from,
            token,
            token_from,
            timeout,
            ca: global.ca.clone().or_else(|| variable("RESILIENT_CA").map(PathBuf::from)).or(file.ca),
        };
        if connection.is_tls() && cfg!(not(feature = "tls")) {
            return Err(Failure::usage("this program was built without TLS, so that https does not work")
                .hint("install it with the feature `tls`, or use http through an SSH tunnel"));
        }
        if global.ca.is_some() && !connection.is_tls() {
            warnings.push("--ca has no effect, because the URL does not begin with https".into());
        }
        Ok((connection, warnings))
    }

    /// Whether the URL is an `https` URL.
    pub(crate) fn is_tls(&self) -> bool {
        self.base.starts_with("https:")
    }

    /// Whether the service is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        let uri: Option<Uri> = self.base.parse().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// The URL of the API.
fn base(url: &str, prefix: &str, from: &str) -> Result<String, Failure> {
    let example = "expected an address such as http://127.0.0.1:3000";
    // A URL can contain a password, so that invalid ones are not printed.
    let wrong = |why: &str| Failure::usage(format!("the URL from {from} is invalid: {why}; {example}"));
    let with_scheme =
        if url.contains("://") { url.trim().to_owned() } else { format!("http://{}", url.trim()) };
    let uri: Uri = with_scheme.parse().map_err(|_| wrong("it cannot be parsed"))?;
    let (scheme, authority) = match (uri.scheme_str(), uri.authority()) {
        (Some(scheme @ ("http" | "https")), Some(authority)) => (scheme, authority.as_str()),
        (Some("http" | "https"), None) => return Err(wrong("it has no host")),
        _ => return Err(wrong("only http and https are supported")),
    };
    if authority.contains('@') {
        return Err(wrong("it contains a user name or a password")
            .hint("use the option --token-file for the admin token"));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(wrong("it has no host"));
    }
    let end = authority.rfind(']').map_or(0, |end| end + 1);
    if authority[end..].contains(':') && uri.port_u16().is_none() {
        return Err(wrong("the port is not a number from 1 to 65535"));
    }
    if uri.query().is_some() {
        return Err(wrong("it contains a query"));
    }
    let prefix = match prefix.trim_matches('/') {
        "" => String::new(),
        prefix => format!("/{prefix}"),
    };
    if !prefix.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#') {
        return Err(Failure::usage("the prefix is invalid: expected a path such as /api/resilience"));
    }
    // The URL of the dashboard, or of the API itself, was copied.
    let path = uri.path().trim_end_matches('/');
    let path = path.strip_suffix("/dashboard").unwrap_or(path);
    let path = path.strip_suffix(prefix.as_str()).unwrap_or(path);
    Ok(format!("{scheme}://{authority}{path}{prefix}"))
}

/// Reads the token from a file, and warns if other users can read it.
fn token_file(path: &Path, warnings: &mut Vec<String>) -> Result<Secret, Failure> {
    let text = read(path)?;
    let token = Secret::new(&text);
    if token.is_empty() {
        return Err(Failure::usage(format!("the token file {} is empty", path.display())));
    }
    warnings.extend(readable_by_others(path));
    Ok(token)
}

#[cfg(unix)]
fn readable_by_others(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let path = path.display();
    // A pipe, such as `--token-file <(pass show admin)`, has no lasting content.
    let is_file = fs::metadata(path.to_string()).is_ok_and(|about| about.is_file());
    (is_file && mode & 0o077 != 0)
        .then(|| format!("other users can access the token in {path} (mode {mode:o}); run: chmod 600 {path}"))
}

#[cfg(not(unix))]
fn readable_by_others(_: &Path) -> Option<String> {
    None
}

fn read(path: &Path) -> Result<String, Failure> {
    let bytes = read_up_to(path, LARGEST)?;
    String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("cannot read {}: it is not UTF-8", path.display())))
}

/// Reads a file of certificates. The list of a whole system is about 200 KiB.
#[cfg(feature = "tls")]
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    read_up_to(path, 4 * 1024 * 1024)
}

fn read_up_to(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    use std::io::Read;
    let wrong = |why: &str| Failure::usage(format!("cannot read {}: {why}", path.display()));
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| wrong(&error.to_string()))?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| wrong(&error.to_string()))?;
    if bytes.len() as u64 > most {
        return Err(wrong(&format!("it is larger than {} KiB", most / 1024)));
    }
    Ok(bytes)
}

/// `$XDG_CONFIG_HOME/resilient/config.toml`, or below `~/.config`.
fn config_path(variable: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let home = || variable("HOME").map(|home| Path::new(&home).join(".config"));
    let folder =
        variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or_else(home)?;
    Some(folder.join("resilient").join("config.toml"))
}

/// The configuration file of this program.
#[derive(Debug, Default)]
struct OwnConfig {
    path: PathBuf,
    url: Option<String>,
    prefix: Option<String>,
    token: Option<Secret>,
    token_file: Option<PathBuf>,
    timeout: Option<Duration>,
    ca: Option<PathBuf>,
}

impl OwnConfig {
    /// Reads the file. A missing file is empty.
    fn read(path: &Path) -> Result<Self, Failure> {
        if fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            return Ok(Self::default());
        }
        let text = read(path)?;
        let wrong = |at: usize, why: &str| {
            let line = text.get(..at).unwrap_or(&text).matches('\n').count() + 1;
            Failure::usage(format!("{}:{line}: {why}", path.display()))
        };
        // The messages of the parser quote the text, which can contain the token.
        let parsed = DeTable::parse(&text);
        let table =
            parsed.map_err(|error| wrong(error.span().map_or(0, |span| span.start), "not valid TOML"))?;
        let mut config = Self { path: path.to_owned(), ..Self::default() };
        for (key, value) in table.get_ref() {
            let known = KEYS.join("`, `");
            let DeValue::String(value) = value.get_ref() else {
                return Err(wrong(key.span().start, &format!("expected a text for one of `{known}`")));
            };
            match &**key.get_ref() {
                "url" => config.url = Some(value.to_string()),
                "prefix" => config.prefix = Some(value.to_string()),
                "token" => config.token = Some(Secret::new(value)),
                "token_file" => config.token_file = Some(path.parent().unwrap_or(path).join(&**value)),
                "ca" => config.ca = Some(path.parent().unwrap_or(path).join(&**value)),
                "timeout" => {
                    let timeout = duration::parse(value);
                    config.timeout =
                        Some(timeout.map_err(|why| wrong(key.span().start, &format!("`timeout`: {why}")))?);
                }
                _ => return Err(wrong(key.span().start, &format!("unknown key; expected `{known}`"))),
            }
        }
        Ok(config)
    }

    fn name(&self) -> String {
        format!("the file {}", self.path.display())
    }
}

#[cfg(test)]
mod tests;
