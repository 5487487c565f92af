//! What the command line says.

use std::path::PathBuf;

/// How the program is to run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) port: u16,
    pub(crate) gateway_port: u16,
    /// Orders a second that the program sends to itself.
    pub(crate) load: u32,
    /// Whether an outage and the recovery from it are played.
    pub(crate) scenario: bool,
    /// Settings that can be edited while it runs.
    pub(crate) config: PathBuf,
    /// Where it is kept which orders were charged; in memory where nothing is given.
    pub(crate) records: Option<PathBuf>,
    /// The admin token; a new one where none is given.
    pub(crate) token: Option<String>,
}

const KNOWN: &str = "--port N, --gateway-port N, --load ORDERS_A_SECOND, --config FILE, --records FILE, \
                     --token TEXT, --scenario";

impl Options {
    pub(crate) fn from_args(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            port: 3000,
            gateway_port: 3001,
            load: 5,
            scenario: false,
            config: concat!(env!("CARGO_MANIFEST_DIR"), "/payments/payments.toml").into(),
            records: None,
            token: None,
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
                "--scenario" => options.scenario = true,
                _ => return Err(format!("unknown option `{option}`; known: {KNOWN}")),
            }
        }
        Ok(options)
    }
}

fn number(option: &str, value: &str) -> Result<u16, String> {
    value.parse().map_err(|_| format!("`{option} {value}`: a number from 0 to 65535 is needed"))
}
