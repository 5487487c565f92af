//! Client of the admin API.

mod answer;
mod stream;

use std::fmt::Write as _;
use std::io::Read;

use serde_json::Value;
use ureq::Agent;
use ureq::http::{Method, Request};

use crate::connection::Connection;
use crate::failure::Failure;

pub(crate) use stream::Message;

/// Maximum size of a response, in bytes. The statistics of 10 000 operations are about 8 MB.
const LARGEST: u64 = 64 * 1024 * 1024;

/// The admin API of one service.
#[derive(Debug)]
pub(crate) struct Api {
    connection: Connection,
    agent: Agent,
}

impl Api {
    /// Prepares the client. This sends no request.
    ///
    /// # Errors
    /// Fails if the certificates for `https` cannot be read.
    #[cfg_attr(not(feature = "tls"), allow(clippy::unnecessary_wraps))]
    pub(crate) fn new(connection: Connection) -> Result<Self, Failure> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Another host must not receive the token.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(1)
            .user_agent(concat!("resilient/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(connection.timeout))
            .timeout_recv_response(Some(connection.timeout));
        // A proxy for the Internet does not reach this machine.
        let config = if connection.is_local() { config.proxy(None) } else { config };
        #[cfg(feature = "tls")]
        let config =
            if connection.is_tls() { config.tls_config(crate::tls::config(&connection)?) } else { config };
        Ok(Self { connection, agent: config.build().new_agent() })
    }

    /// The URL of the API.
    pub(crate) fn base(&self) -> &str {
        &self.connection.base
    }

    /// Whether a token is sent.
    pub(crate) fn has_token(&self) -> bool {
        self.connection.token.is_some()
    }

    /// Reads an endpoint that answers with JSON.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::GET, path, None)
    }

    /// Reads the health. A failed check is an answer, and not an error.
    pub(crate) fn health(&self, path: &str) -> Result<Value, Failure> {
        let (status, media, text) = self.exchange(Method::GET, path, None)?;
        let json: Option<Value> = serde_json::from_str(&text).ok();
        match json {
            Some(json) if matches!(status, 200 | 503) && media.starts_with("application/health+json") => {
                Ok(json)
            }
            _ => Err(self.explain(path, status, &media, &text, None)),
        }
    }

    /// Reads an endpoint that answers with text.
    pub(crate) fn text(&self, path: &str) -> Result<String, Failure> {
        let (status, media, text) = self.exchange(Method::GET, path, None)?;
        if status == 200 && media.starts_with("text/plain") {
            Ok(text)
        } else {
            Err(self.explain(path, status, &media, &text, None))
        }
    }

    /// Sends a change.
    pub(crate) fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        self.ask(method, path, body).map_err(|failure| {
            if failure.message.contains("no answer within") {
                return failure.hint("the change may have taken effect: see `resilient stats` and `resilient config --changed`");
            }
            failure
        })
    }

    fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let (status, media, text) = self.exchange(method, path, body)?;
        let is_json = media.starts_with("application/json");
        if status == 204 {
            return Ok(Value::Null);
        }
        match serde_json::from_str(&text) {
            Ok(json) if matches!(status, 200..=202) && is_json => Ok(json),
            _ => Err(self.explain(path, status, &media, &text, None)),
        }
    }

    /// Sends a request. Returns the status, the media type and the body.
    fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, String, String), Failure> {
        let request = self.request(method, path);
        let timeout = Some(self.connection.timeout);
        let sent = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json").body(body.to_string());
                let request = request.map_err(|error| self.unreachable(&error.into()))?;
                self.agent.run(self.agent.configure_request(request).timeout_global(timeout).build())
            }
            None => {
                let request = request.body(()).map_err(|error| self.unreachable(&error.into()))?;
                self.agent.run(self.agent.configure_request(request).timeout_global(timeout).build())
            }
        };
        let mut response = sent.map_err(|error| self.unreachable(&error))?;
        let header =
            |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (media, retry_after) = (header("content-type").unwrap_or_default(), header("retry-after"));
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        let read = response.body_mut().with_config().limit(LARGEST).reader().read_to_end(&mut bytes);
        read.map_err(|error| self.unreachable(&ureq::Error::from(error)))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match retry_after {
            Some(wait) if status != 200 => Err(self.explain(path, status, &media, &text, Some(&wait))),
            _ => Ok((status, media, text)),
        }
    }

    fn request(&self, method: Method, path: &str) -> ureq::http::request::Builder {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.connection.base));
        match &self.connection.token {
            Some(token) => request.header("authorization", token.header()),
            None => request,
        }
    }
}

/// Escapes a name for use as one segment of a path.
pub(crate) fn segment(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        if plain(byte) { path.push(byte.into()) } else { _ = write!(path, "%{byte:02X}") }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_of_the_path() {
        assert_eq!(segment("api.search"), "api%2Esearch");
        assert_eq!(segment("a/../b?c#d%"), "a%2F%2E%2E%2Fb%3Fc%23d%25");
        assert_eq!(segment("支 \u{1b}"), "%E6%94%AF%20%1B");
    }
}
