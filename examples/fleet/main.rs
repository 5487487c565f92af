//! Three instances of a service that share limits, circuits and idempotency keys in one Redis.
//!
//!     cargo run --example fleet
//!
//! The program starts Redis, a gateway and the instances, shows what they share, kills an instance and Redis, and prints
//! what happened. It ends with an error if something was not as expected.

mod acts;
mod gateway;
mod http;
mod instance;
mod options;
mod processes;
mod redis;

use std::error::Error;
use std::process::ExitCode;

use acts::Fleet;
use options::Options;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("fleet: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<ExitCode, Box<dyn Error>> {
    let options = match Options::from_args(std::env::args().skip(1))? {
        options::Parsed::Help => {
            println!("{}", options::HELP);
            return Ok(ExitCode::SUCCESS);
        }
        options::Parsed::Instance(settings) => {
            return instance::run(settings).await.map(|()| ExitCode::SUCCESS);
        }
        options::Parsed::Fleet(options) => options,
    };
    let mut fleet = Fleet::start(&options).await?;
    let as_expected = fleet.play().await?;
    if options.stay {
        fleet.stay().await?;
    }
    Ok(if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
