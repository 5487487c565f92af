//! The result of the program.

use std::collections::BTreeMap;

use sqlx::{PgPool, Row as _};

use crate::payment::CENTS;
use crate::worker::{Killed, STEPS};

#[derive(Default)]
pub(crate) struct Report {
    /// Workers that were killed, by their last step.
    kills: BTreeMap<String, u32>,
    pub(crate) server_kills: u32,
    /// The acknowledged receipt of each order.
    receipts: BTreeMap<i32, i64>,
    acknowledged: u32,
}

impl Report {
    pub(crate) fn add(&mut self, killed: Killed) -> Result<(), String> {
        *self.kills.entry(killed.last).or_insert(0) += 1;
        killed.receipts.into_iter().try_for_each(|(order, number)| self.paid(order, number))
    }

    /// Notes a receipt.
    ///
    /// # Errors
    /// Returns an error if the order has another receipt.
    pub(crate) fn paid(&mut self, order: i32, number: i64) -> Result<(), String> {
        self.acknowledged += 1;
        match self.receipts.insert(order, number) {
            Some(before) if before != number => {
                Err(format!("order {order} has the receipts {before} and {number}"))
            }
            _ => Ok(()),
        }
    }

    /// Prints the report. Returns whether all payments are right.
    pub(crate) async fn print(&self, pool: &PgPool, orders: i32) -> sqlx::Result<bool> {
        println!("last step of a killed process   processes");
        for step in STEPS {
            println!("  {step:<28} {:>10}", self.kills.get(step).unwrap_or(&0));
        }
        let others: u32 = self
            .kills
            .iter()
            .filter(|(step, _)| !STEPS.contains(&step.as_str()))
            .map(|(_, count)| count)
            .sum();
        if others > 0 {
            println!("  {:<28} {others:>10}", "ended before the step");
        }
        println!("  {:<28} {:>10}", "kills of the server", self.server_kills);

        let rows = sqlx::query("SELECT ordered, number FROM example_receipts").fetch_all(pool).await?;
        let in_database: Vec<(i32, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let by_order: BTreeMap<i32, i64> = in_database.iter().copied().collect();
        let twice = in_database.len() - by_order.len();
        let is_lost = |(order, number): &(&i32, &i64)| by_order.get(*order) != Some(*number);
        let lost = self.receipts.iter().filter(is_lost).count();
        let left: i64 = cents(pool, "customer").await?;
        let earned = cents(pool, "shop").await?;
        println!("\norders                       {orders:>12}");
        println!("acknowledged, with replays   {:>12}", self.acknowledged);
        println!("payments                     {:>12}", in_database.len());
        println!("charged twice                {twice:>12}");
        println!("acknowledged and lost        {lost:>12}");
        println!("balance of the customer      {left:>12}");
        println!("balance of the shop          {earned:>12}");
        let is_right = twice == 0 && lost == 0 && left == 0 && earned == CENTS * i64::from(orders);
        println!("\n{}", if is_right { "Every order was charged once." } else { "The payments are wrong." });
        Ok(is_right)
    }
}

async fn cents(pool: &PgPool, account: &str) -> sqlx::Result<i64> {
    let query = sqlx::query_scalar("SELECT cents FROM example_accounts WHERE name = $1");
    query.bind(account).fetch_one(pool).await
}
