//! Client of the gateway protocol, without any protection.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use resilient_runtime::{Class, Classify, FallbackFailed, Rejection};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Error of a call to the gateway.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChargeError {
    #[error("cannot connect to the gateway: {0}")]
    Connection(#[from] std::io::Error),
    #[error("the gateway returned {status} {text}")]
    Refused { status: StatusCode, text: String, retry_after: Option<Duration> },
    #[error("unexpected response of the gateway: {0:?}")]
    Protocol(String),
    /// A policy rejected the call.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// All fallback levels failed.
    #[error(transparent)]
    AllFailed(#[from] FallbackFailed),
}

impl Classify for ChargeError {
    fn classify(&self) -> Class {
        match self {
            Self::Connection(error) => error.classify(),
            Self::Refused { status, retry_after, .. } => match status.classify() {
                Class::Transient { .. } => Class::Transient { retry_after: *retry_after },
                Class::Unknown { .. } => Class::Unknown { retry_after: *retry_after },
                Class::Overload { .. } => Class::Overload { retry_after: *retry_after },
                other => other,
            },
            Self::Protocol(_) | Self::AllFailed(_) => Class::Permanent,
            Self::Rejected(rejection) => rejection.classify(),
        }
    }
}

/// Charges an order and returns the receipt.
pub(crate) async fn charge(gateway: SocketAddr, order: &str, cents: u64) -> Result<String, ChargeError> {
    ask(gateway, &format!("CHARGE {order} {cents}\n")).await
}

/// Returns the exchange rate of a currency, in euros.
pub(crate) async fn rate(gateway: SocketAddr, currency: &str) -> Result<f64, ChargeError> {
    let rate = ask(gateway, &format!("RATE {currency}\n")).await?;
    rate.parse().map_err(|_| ChargeError::Protocol(rate))
}

/// Checks that the gateway responds.
pub(crate) async fn ping(gateway: SocketAddr) -> Result<String, ChargeError> {
    ask(gateway, "PING\n").await
}

async fn ask(gateway: SocketAddr, request: &str) -> Result<String, ChargeError> {
    let mut stream = TcpStream::connect(gateway).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await?;
    parse(answer.trim_end())
}

fn parse(answer: &str) -> Result<String, ChargeError> {
    let strange = || ChargeError::Protocol(answer.chars().take(80).collect());
    match answer.split(' ').collect::<Vec<_>>()[..] {
        ["OK", text] => Ok(text.to_owned()),
        ["ERR", status, text] => refused(status, text, None).ok_or_else(strange)?,
        ["ERR", status, text, wish] => refused(status, text, Some(wish)).ok_or_else(strange)?,
        _ => Err(strange()),
    }
}

fn refused(status: &str, text: &str, wish: Option<&str>) -> Option<Result<String, ChargeError>> {
    let status = status.parse().ok()?;
    let retry_after = wish.and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
    Some(Err(ChargeError::Refused { status, text: text.to_owned(), retry_after }))
}
