//! Command line options.

use std::path::PathBuf;

/// Parsed command line options.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) port: u16,
    pub(crate) gateway_port: u16,
    /// Orders per second that the program sends to itself.
    pub(crate) load: u32,
    /// Whether to simulate an outage and the recovery.
    pub(crate) scenario: bool,
    /// Settings file, which can be edited while the program runs.
    pub(crate) config: PathBuf,
    /// File for the records of charged orders. `None` stores them in memory.
    pub(crate) records: Option<PathBuf>,
    /// The admin token. `None` generates one.
    pub(crate) token: Option<String>,
    /// The name of the environment. Chaos experiments start only in the environments that they list.
    pub(crate) environment: String,
}

pub(crate) const HELP: &str = "\
A payment service with a live dashboard, and a gateway that fails on request.

Usage: cargo run --example payments -- [OPTIONS]

  --scenario          simulate an outage of the gateway, and its recovery
  --load N            orders per second that the program sends to itself (default: 5)
  --port N            port of the service; 0 chooses a free one (default: 3000)
  --gateway-port N    port of the gateway; 0 chooses a free one (default: 3001)
  --config FILE       settings file, which can be edited while the program runs
  --records FILE      store the records of charged orders in this file (default: in memory)
  --token TEXT        admin token, at least 16 characters (default: a random one, which is printed)
  --environment NAME  environment for chaos experiments (default: RESILIENT_ENVIRONMENT, or development)
  --help              show this text";

impl Options {
    /// Parses the options. `None` means that help was requested.
    pub(crate) fn from_args(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            port: 3000,
            gateway_port: 3001,
            load: 5,
            scenario: false,
            config: concat!(env!("CARGO_MANIFEST_DIR"), "/payments/payments.toml").into(),
            records: None,
            token: None,
            environment: std::env::var("RESILIENT_ENVIRONMENT").unwrap_or_else(|_| "development".into()),
        };
        while let Some(option) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("`{option}` needs a value"));
            match option.as_str() {
                "--port" => options.port = number(&option, &value()?)?,
                "--gateway-port" => options.gateway_port = number(&option, &value()?)?,
                "--load" => options.load = u32::from(number(&option, &value()?)?),
                "--config" => options.config = value()?.into(),
                "--records" => options.records = Some(value()?.into()),
                "--token" => options.token = Some(value()?),
                "--environment" => options.environment = value()?,
                "--scenario" => options.scenario = true,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unknown option `{option}`\n\n{HELP}")),
            }
        }
        Ok(Some(options))
    }
}

fn number(option: &str, value: &str) -> Result<u16, String> {
    value
        .parse()
        .map_err(|_| format!("invalid value `{value}` for `{option}`: expected a number from 0 to 65535"))
}
