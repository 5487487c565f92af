//! Server-sent events of the admin API.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use serde_json::Value;
use ureq::http::Method;

use super::Api;
use crate::exit::Exit;
use crate::failure::Failure;

/// The service sends a comment after 15 s without an event. A longer silence means that the connection is dead.
const SILENCE: Duration = Duration::from_secs(40);
/// Maximum length of a line, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// A message of the stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    /// The service starts to send: no event from now on is missed.
    Started,
    Event(Value),
    /// The service dropped events because this client was too slow.
    Lost(u64),
    /// The service has no more events.
    End,
}

/// The messages of a stream, such as `/events`.
pub(crate) struct Messages<R = Box<dyn Read + Send>> {
    lines: BufReader<R>,
    event: String,
}

impl Api {
    /// Connects to the stream of events.
    ///
    /// # Errors
    /// Fails if the service cannot be reached, or rejects the request.
    pub(crate) fn events(&self) -> Result<Messages, Failure> {
        self.stream("/events")
    }

    /// Connects to the stream of a journal. It begins with the first entry, and ends with [`Message::End`].
    ///
    /// # Errors
    /// Fails if the service cannot be reached, or rejects the request.
    pub(crate) fn stream(&self, path: &str) -> Result<Messages, Failure> {
        let request = self.request(Method::GET, path).header("accept", "text/event-stream").body(());
        let request = request.map_err(|error| self.unreachable(&error.into()))?;
        let request = self.agent.configure_request(request).timeout_per_read(Some(SILENCE)).build();
        let mut response = self.agent.run(request).map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        let header =
            |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (media, retry_after) = (header("content-type").unwrap_or_default(), header("retry-after"));
        if status != 200 || !media.starts_with("text/event-stream") {
            let text = response.body_mut().with_config().limit(LONGEST).read_to_string().unwrap_or_default();
            return Err(self.explain(path, status, &media, &text, retry_after.as_deref()));
        }
        Ok(Messages::new(Box::new(response.into_body().into_with_config().limit(u64::MAX).reader())))
    }
}

impl<R: Read> Messages<R> {
    fn new(source: R) -> Self {
        Self { lines: BufReader::new(source), event: String::new() }
    }

    /// Waits for the next message. `None` means that the connection ended.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, Failure> {
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            if line.starts_with(": listening") {
                return Ok(Some(Message::Started));
            }
            match line.split_once(": ") {
                Some(("event", event)) => event.clone_into(&mut self.event),
                Some(("data", data)) => {
                    let event = std::mem::take(&mut self.event);
                    if event == "end" {
                        return Ok(Some(Message::End));
                    }
                    let data: Value = serde_json::from_str(data).map_err(|_| broken("invalid JSON"))?;
                    return Ok(Some(match event.as_str() {
                        "lost" => Message::Lost(data.as_u64().unwrap_or(1)),
                        _ => Message::Event(data),
                    }));
                }
                _ => {}
            }
        }
    }

    fn line(&mut self) -> Result<Option<String>, Failure> {
        let mut line = Vec::new();
        let read = (&mut self.lines).take(LONGEST).read_until(b'\n', &mut line);
        match read {
            Ok(_) if line.ends_with(b"\n") => {
                let text = String::from_utf8_lossy(&line);
                Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
            }
            Ok(_) if line.len() as u64 >= LONGEST => Err(broken("a line is longer than 1 MiB")),
            // The connection ended, or nothing arrived for too long.
            Ok(_) | Err(_) => Ok(None),
        }
    }
}

impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}

fn broken(why: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("the stream of events is invalid: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Message> {
        let mut messages = Messages::new(text.as_bytes());
        std::iter::from_fn(|| messages.next().unwrap()).collect()
    }

    #[test]
    fn comments_are_ignored_and_lost_events_are_counted() {
        let text = ": listening\n\n:\n\ndata: {\"kind\":\"retry\"}\n\nevent: lost\ndata: 7\n\ndata: 1\r\n\r\ndata: {\"cut";
        let event = |json: &str| Message::Event(serde_json::from_str(json).unwrap());
        assert_eq!(all(text), [Message::Started, event(r#"{"kind":"retry"}"#), Message::Lost(7), event("1")]);
    }

    #[test]
    fn a_line_without_an_end_does_not_fill_the_memory() {
        let mut endless = Messages::new(std::io::repeat(b'x'));
        assert!(endless.next().unwrap_err().message.contains("longer than 1 MiB"));
        assert!(Messages::new(&b"data: {]\n\n"[..]).next().is_err());
    }
}
