//! Command line options.

pub(crate) const HELP: &str = "\
Payments in a PostgreSQL transaction. Their process is killed at every step, and no order is charged twice.

Usage: cargo run --example orders_postgres -- [OPTIONS]

  --database URL    use this database (default: DATABASE_URL, or a temporary server); the example creates tables whose
                    names start with `example_`
  --orders N        number of orders, at least 1 (default: 40)
  --kills N         number of processes to kill (default: 48)
  --dashboard       serve the dashboard, and wait for Ctrl-C at the end
  --port N          port of the dashboard; 0 chooses a free one (default: 3000)
  --help            show this text

A temporary server needs PostgreSQL 13 or later, for example by `apt install postgresql`. It is killed and restarted too.";

pub(crate) enum Task {
    Help,
    /// Pay all orders, starting with `first`, and write each step.
    Work {
        url: String,
        first: i32,
        orders: i32,
    },
    Show(Options),
}

pub(crate) struct Options {
    pub(crate) database: Option<String>,
    pub(crate) orders: i32,
    pub(crate) kills: usize,
    /// The port of the dashboard.
    pub(crate) dashboard: Option<u16>,
}

impl Options {
    pub(crate) fn from_args(mut args: impl Iterator<Item = String>) -> Result<Task, String> {
        let database = std::env::var("DATABASE_URL").ok();
        let mut options = Self { database, orders: 40, kills: 48, dashboard: None };
        let (mut port, mut work) = (None, None);
        while let Some(option) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("`{option}` needs a value"));
            match option.as_str() {
                "--database" => options.database = Some(value()?),
                "--orders" => options.orders = number::<i32>(&option, &value()?)?.max(1),
                "--kills" => options.kills = number(&option, &value()?)?,
                "--dashboard" => options.dashboard = Some(3000),
                "--port" => port = Some(number(&option, &value()?)?),
                "--work" => work = Some(number(&option, &value()?)?),
                "--help" | "-h" => return Ok(Task::Help),
                _ => return Err(format!("unknown option `{option}`\n\n{HELP}")),
            }
        }
        if let Some(port) = port {
            options.dashboard = Some(options.dashboard.map(|_| port).ok_or("`--port` needs `--dashboard`")?);
        }
        match (work, options.database) {
            (Some(first), Some(url)) => Ok(Task::Work { url, first, orders: options.orders }),
            (_, database) => Ok(Task::Show(Self { database, ..options })),
        }
    }
}

fn number<N: std::str::FromStr>(option: &str, value: &str) -> Result<N, String> {
    value.parse().map_err(|_| format!("invalid value `{value}` for `{option}`: expected a number"))
}
