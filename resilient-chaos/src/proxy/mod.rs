//! TCP fault proxy: delays, limits, cuts or resets connections between a client and a server.
//!
//! The proxy stands between a program and a server that it calls, such as a database. The program connects to the proxy
//! instead. *Toxics* then change what passes, while connections are open, without a change of the program or the server.
//!
//! # Toxics
//!
//! A toxic has an effect, a direction, and a toxicity: the share of connections that it affects. The toxics of a direction
//! form a chain in the order in which they were added.
//!
//! | constructor | `type` | effect | attributes in JSON, with units |
//! |---|---|---|---|
//! | [`Toxic::latency`] | `latency` | delays all data and its end | `latency` (ms), `jitter` (ms) |
//! | [`Toxic::bandwidth`] | `bandwidth` | limits the transfer rate; 0 stops it | `rate` (kB/s) |
//! | [`Toxic::slow_close`] | `slow_close` | delays the end of the data | `delay` (ms) |
//! | [`Toxic::timeout`], [`Toxic::black_hole`] | `timeout` | discards all data, and closes the connection after a time; 0 means when the toxic is removed | `timeout` (ms) |
//! | [`Toxic::reset_peer`] | `reset_peer` | resets the connection (TCP RST), a time after the first data | `timeout` (ms) |
//! | [`Toxic::slicer`] | `slicer` | sends the data in small slices | `average_size` (bytes), `size_variation` (bytes), `delay` (µs) |
//! | [`Toxic::limit_data`] | `limit_data` | closes the connection after a number of bytes | `bytes` |
//! | [`Toxic::new`] with [`Effect::Noop`] | `noop` | none | |
//! | [`Proxy::disable`] | `enabled: false` | the service is down | |
//!
//! A connection that no toxic affects uses a direct path that copies from one socket to the other. This includes all
//! connections at a toxicity of 0.
//!
//! # In tests
//!
//! ```
//! use std::time::{Duration, Instant};
//! use resilient_chaos::proxy::{Proxy, Toxic};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = TcpListener::bind("127.0.0.1:0").await?;
//! let proxy = Proxy::start("127.0.0.1:0", &server.local_addr()?.to_string()).await?;
//! let _slow = proxy.add(Toxic::latency(Duration::from_millis(50)))?;
//!
//! let mut client = TcpStream::connect(proxy.address()).await?;
//! let (mut accepted, _) = server.accept().await?;
//! let start = Instant::now();
//! accepted.write_all(b"hello").await?;
//! client.read_exact(&mut [0; 5]).await?;
//! assert!(start.elapsed() >= Duration::from_millis(50));
//! # Ok(()) }
//! ```
//!
//! # Controlled over HTTP
//!
//! [`Proxies`] serves the HTTP API of [Toxiproxy](https://github.com/Shopify/toxiproxy) 2, so that its clients work.
//!
//! ```no_run
//! use resilient_chaos::proxy::Proxies;
//! use tokio::net::TcpListener;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! Proxies::new().serve(TcpListener::bind("127.0.0.1:8474").await?).await?;
//! # Ok(()) }
//! ```
//!
//! # Limits
//! - A proxy has at most 64 toxics and, by default, 4096 open connections; [`Proxies`] has at most 256 proxies and, by
//!   default, 8192 open connections in all of them.
//! - A direction of a connection buffers 64 KiB, and each toxic up to 64 KiB more; `latency` up to 1 MiB, so that its rate
//!   is at most 1 MiB per delay.
//! - Without a token, only loopback addresses are used, both for the API and for the proxies.
//! - If the upstream is not reachable within 10 s, the connection is closed and logged. The proxy continues.

mod address;
mod api;
mod builder;
mod chain;
mod connection;
mod error;
mod guard;
mod lane;
mod log_limit;
mod proxies;
#[expect(clippy::module_inception, reason = "the file of the type `Proxy`")]
mod proxy;
mod random;
mod stage;
mod stats;
mod toxic;
mod toxic_list;

pub use api::ServeError;
pub use builder::ProxyBuilder;
pub use error::{Invalid, ProxyError};
pub use guard::ToxicGuard;
pub use proxies::{Proxies, ProxySpec};
pub use proxy::Proxy;
pub use stats::ProxyStats;
pub use toxic::{Direction, Effect, Toxic, TransferRate};
