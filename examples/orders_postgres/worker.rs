//! A process that pays orders until it is killed.

use std::error::Error;
use std::io::Write as _;
use std::process::Stdio;

use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::payment::pay_in_transaction;

pub(crate) const STEPS: [&str; 7] = ["begin", "debit", "credit", "receipt", "paid", "commit", "committed"];

/// The receipts that a worker has acknowledged, and its last step.
pub(crate) struct Killed {
    pub(crate) receipts: Vec<(i32, i64)>,
    pub(crate) last: String,
}

/// Pays all orders, and writes each step.
pub(crate) async fn work(pool: &PgPool, first: i32, orders: i32) -> Result<(), Box<dyn Error>> {
    // A closed output means that the parent has ended.
    let say = |text: &str| drop(writeln!(std::io::stdout(), "{text}"));
    for order in (first..orders).chain(0..first) {
        let receipt = pay_in_transaction(pool, order, &say).await?;
        say(&format!("receipt {order} {receipt}"));
    }
    Ok(())
}

/// Starts a worker, and kills it at a step of its second new order.
pub(crate) async fn run_and_kill(
    url: &str,
    (first, orders): (i32, i32),
    step: &str,
) -> Result<Killed, Box<dyn Error>> {
    let mut worker = Command::new(std::env::current_exe()?);
    worker.args(["--work", &first.to_string(), "--orders", &orders.to_string()]).env("DATABASE_URL", url);
    let mut worker = worker.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let output = worker.stdout.take().ok_or("the worker has no output")?;
    let (mut lines, mut seen) = (BufReader::new(output).lines(), 0);
    let mut killed = Killed { receipts: Vec::new(), last: String::new() };
    while let Some(line) = lines.next_line().await? {
        if let Some(receipt) = line.strip_prefix("receipt ").filter(|rest| rest.contains(' ')) {
            let (order, number) = receipt.split_once(' ').ok_or("a receipt has two numbers")?;
            killed.receipts.push((order.parse()?, number.parse()?));
            continue;
        }
        seen += u32::from(line == step);
        killed.last = line;
        if seen == 2 {
            // The worker continues until the signal arrives, so it also dies between two steps.
            worker.start_kill()?;
        }
    }
    worker.wait().await?;
    Ok(killed)
}
