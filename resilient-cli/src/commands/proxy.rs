//! `resilient proxy`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use resilient_chaos::proxy::Proxies;
use tokio::net::TcpListener;

use super::Run;
use crate::failure::Failure;
use crate::session::Session;

/// Run a TCP fault proxy with the HTTP API of Toxiproxy
///
/// Create proxies over the API, for example with a client of Toxiproxy. Runs until it is interrupted.
#[derive(Debug, clap::Args)]
pub(crate) struct Proxy {
    /// Address of the API. Port 0 chooses a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8474")]
    listen: SocketAddr,
    /// File that contains the token of the API. Without a token, only loopback addresses are allowed
    #[arg(long, value_name = "FILE")]
    api_token_file: Option<PathBuf>,
}

impl Run for Proxy {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let mut proxies = Proxies::new();
        if let Some(path) = &self.api_token_file {
            let token = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
            proxies = proxies.token(token.trim()).map_err(|error| Failure::usage(error.to_string()))?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::usage(format!("cannot start threads: {error}")))?;
        // The main function of a program may block.
        #[allow(clippy::disallowed_methods)]
        runtime.block_on(async {
            let listener = TcpListener::bind(self.listen).await.map_err(|error| {
                Failure::usage(format!("cannot listen on {}: {error}", self.listen))
                    .hint("choose another address with `--listen ADDRESS`")
            })?;
            let address = listener.local_addr().unwrap_or(self.listen);
            session.out.line([format!("Fault proxy API: http://{address}")])?;
            proxies.serve(listener).await.map_err(|error| Failure::usage(error.to_string()))
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
