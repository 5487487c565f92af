//! Command line options.

use std::path::PathBuf;

/// Parsed command line options.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) port: u16,
    pub(crate) gateway_port: u16,
    /// Orders per second that the program sends to itself.
    pub(crate) load: u32,
    /// The game day to play, after which the program ends.
    pub(crate) game_day: Option<GameDay>,
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

/// How to play a game day.
#[derive(Debug, Clone)]
pub(crate) struct GameDay {
    /// Folder for the report.
    pub(crate) reports: PathBuf,
    /// Whether to wait for people before and after each act. `None` does so if the standard input is a terminal.
    pub(crate) pauses: Option<bool>,
    /// Whether to play it in a quarter of the time.
    pub(crate) quick: bool,
    /// The only acts to play, by their scenarios. Empty plays all.
    pub(crate) only: Vec<String>,
}

impl Default for GameDay {
    fn default() -> Self {
        Self { reports: "gameday-report".into(), pauses: None, quick: false, only: Vec::new() }
    }
}

pub(crate) const HELP: &str = "\
A payment service with a live dashboard, and a gateway that fails on request.

Usage: cargo run --example payments -- [OPTIONS]

  --scenario          simulate an outage of the gateway, and its recovery
  --gameday           play a game day of six chaos experiments, write a report, and exit: 0 if all hypotheses held,
                      1 if one deviated, 2 if one was aborted, 3 if one did not start
  --load N            orders per second that the program sends to itself (default: 5, for a game day 40, quick 80)
  --port N            port of the service; 0 chooses a free one (default: 3000)
  --gateway-port N    port of the gateway; 0 chooses a free one (default: 3001)
  --config FILE       settings file, which can be edited while the program runs
  --records FILE      store the records of charged orders in this file (default: in memory)
  --token TEXT        admin token, at least 16 characters (default: a random one, which is printed)
  --environment NAME  environment for chaos experiments (default: RESILIENT_ENVIRONMENT, or development)
  --help              show this text

With --gameday:
  --reports FOLDER    folder for the report and the journals (default: gameday-report)
  --pause, --no-pause wait for people before and after each act, or not (default: if the input is a terminal)
  --only SCENARIO     play only this scenario; can be repeated
  --quick             a quarter of the time, with settings that fit (quick.toml), for continuous integration";

/// Settings for `--quick`, next to the usual ones.
const QUICK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/payments/quick.toml");

impl Options {
    /// Parses the options. `None` means that help was requested.
    pub(crate) fn from_args(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            port: 3000,
            gateway_port: 3001,
            load: 5,
            game_day: None,
            scenario: false,
            config: concat!(env!("CARGO_MANIFEST_DIR"), "/payments/payments.toml").into(),
            records: None,
            token: None,
            environment: std::env::var("RESILIENT_ENVIRONMENT").unwrap_or_else(|_| "development".into()),
        };
        let (mut load, mut config, mut plays, mut day) = (None, None, false, GameDay::default());
        let mut of_game_day = None;
        while let Some(option) = args.next() {
            if ["--reports", "--pause", "--no-pause", "--only", "--quick"].contains(&option.as_str()) {
                of_game_day.get_or_insert_with(|| option.clone());
            }
            let mut value = || args.next().ok_or_else(|| format!("`{option}` needs a value"));
            match option.as_str() {
                "--port" => options.port = number(&option, &value()?)?,
                "--gateway-port" => options.gateway_port = number(&option, &value()?)?,
                "--load" => load = Some(u32::from(number(&option, &value()?)?)),
                "--config" => config = Some(value()?.into()),
                "--records" => options.records = Some(value()?.into()),
                "--token" => options.token = Some(value()?),
                "--environment" => options.environment = value()?,
                "--scenario" => options.scenario = true,
                "--gameday" => plays = true,
                "--reports" => day.reports = value()?.into(),
                "--pause" => day.pauses = Some(true),
                "--no-pause" => day.pauses = Some(false),
                "--only" => day.only.push(value()?),
                "--quick" => day.quick = true,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unknown option `{option}`\n\n{HELP}")),
            }
        }
        match of_game_day {
            Some(option) if !plays => return Err(format!("`{option}` needs `--gameday`")),
            _ => {}
        }
        if plays && options.scenario {
            return Err("`--scenario` and `--gameday` exclude each other: each makes the gateway fail".into());
        }
        if plays {
            options.load = if day.quick { 80 } else { 40 };
            if day.quick {
                options.config = QUICK.into();
            }
            options.game_day = Some(day);
        }
        options.load = load.unwrap_or(options.load);
        options.config = config.unwrap_or(options.config);
        Ok(Some(options))
    }
}

fn number(option: &str, value: &str) -> Result<u16, String> {
    value
        .parse()
        .map_err(|_| format!("invalid value `{value}` for `{option}`: expected a number from 0 to 65535"))
}
