//! Command line options.

use std::net::SocketAddr;

pub(crate) const HELP: &str = "\
Three instances of a service that share limits, circuits and idempotency keys in one Redis.

Usage: cargo run --example fleet -- [OPTIONS]

  --stay        continue with a load after the last step, until Ctrl-C, to look at the dashboards
  --port N      first of the four ports: the gateway and three instances (default: 3100)
  --token TEXT  admin token of all instances, at least 16 characters (default: fleet-admin-token)
  --help        show this text

The program needs `redis-server` 6.2 or later. It starts one on a free port, with its data in a temporary folder.";

/// The parsed command line.
#[derive(Debug)]
pub(crate) enum Parsed {
    Help,
    Fleet(Options),
    /// The program runs one instance. The fleet starts it with these settings.
    Instance(Instance),
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) stay: bool,
    pub(crate) port: u16,
    pub(crate) token: String,
}

/// Settings of one instance.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    /// From 1 to 3.
    pub(crate) number: u16,
    pub(crate) port: u16,
    pub(crate) gateway: SocketAddr,
    pub(crate) token: String,
}

impl Options {
    pub(crate) fn from_args(mut args: impl Iterator<Item = String>) -> Result<Parsed, String> {
        let mut options = Self { stay: false, port: 3100, token: "fleet-admin-token".to_owned() };
        let (mut number, mut gateway) = (None, None);
        while let Some(option) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("`{option}` needs a value"));
            match option.as_str() {
                "--stay" => options.stay = true,
                "--port" => options.port = parsed(&option, &value()?)?,
                "--token" => options.token = value()?,
                "--instance" => number = Some(parsed(&option, &value()?)?),
                "--gateway" => gateway = Some(parsed(&option, &value()?)?),
                "--help" | "-h" => return Ok(Parsed::Help),
                _ => return Err(format!("unknown option `{option}`\n\n{HELP}")),
            }
        }
        let Self { port, token, .. } = options.clone();
        match (number, gateway) {
            (Some(number), Some(gateway)) => Ok(Parsed::Instance(Instance { number, port, gateway, token })),
            _ if port > u16::MAX - 3 => {
                Err("`--port` must be at most 65532: four ports are needed".to_owned())
            }
            _ => Ok(Parsed::Fleet(options)),
        }
    }
}

fn parsed<T: std::str::FromStr>(option: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("invalid value `{value}` for `{option}`"))
}
