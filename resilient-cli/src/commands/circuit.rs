//! `resilient open`, `close`, `disable` and `resume`

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use ureq::http::Method;

use super::{Run, changed};
use crate::api::segment;
use crate::failure::Failure;
use crate::session::Session;
use crate::stats::text;

macro_rules! levers {
    ($($(#[doc = $about:literal])+ $name:ident $lever:literal $then:literal;)*) => { $(
        $(#[doc = $about])+
        #[derive(Debug, clap::Args)]
        pub(crate) struct $name {
            /// Name of the circuit breaker
            #[arg(value_parser = NonEmptyStringValueParser::new())]
            name: String,
        }

        impl Run for $name {
            fn run(self, session: &Session) -> Result<ExitCode, Failure> {
                pull(session, &self.name, $lever, $then)
            }
        }
    )* };
}

levers! {
    /// Force a circuit open, so that it rejects all calls
    Open "open" ": it rejects all calls until `resilient resume`";
    /// Force a circuit closed, so that it admits all calls
    Close "close" ": it admits all calls until `resilient resume`";
    /// Switch a circuit breaker off: it admits all calls and measures nothing
    Disable "disable" ": it admits all calls and measures nothing until `resilient resume`";
    /// Return a circuit breaker to automatic operation, after `open`, `close` or `disable`
    Resume "resume" ": it works automatically";
}

fn pull(session: &Session, name: &str, lever: &str, then: &str) -> Result<ExitCode, Failure> {
    let path = format!("/circuit_breaker/{}/{lever}", segment(name));
    let answer = session.api()?.send(Method::POST, &path, None)?;
    let sentence = format!("circuit `{name}` is {}{then}", text(&answer, "state"));
    changed(session, &answer, sentence)
}
