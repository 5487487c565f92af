//! Journals as streams: one entry a line, or server-sent events.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use http::{HeaderMap, HeaderValue, header};
use resilient_chaos::report::{Entry, Journal};
use serde_json::{Value, json};

/// Interval of the comments. A client that is gone is noticed when a comment cannot be written, and an experiment or a
/// monkey that is attended must not run on for long without it.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// The form of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Lines,
    Events,
}

impl Form {
    /// Returns the form that a client asks for. By default lines.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if accept.contains("text/event-stream") { Self::Events } else { Self::Lines }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }

    fn written(self, entries: &[Entry]) -> Bytes {
        let mut text = String::new();
        for entry in entries {
            let entry = json!(entry);
            let _ = match self {
                Self::Lines => writeln!(text, "{entry}"),
                Self::Events => write!(text, "data: {entry}\n\n"),
            };
        }
        text.into()
    }
}

/// The next part of a stream.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// A comment, so that the client knows that it is connected.
    Hello,
    /// The entries from this number on.
    From(usize),
    Over,
}

/// Streams a journal from its start until its end. `held` is dropped with the stream. `end` returns the data of the last
/// event.
pub(super) fn stream(
    journal: Journal,
    form: Form,
    held: impl Send + 'static,
    end: impl Fn() -> Value + Send + 'static,
) -> Response {
    let first = if form == Form::Events { Next::Hello } else { Next::From(0) };
    let body = unfold((journal, form, first, held, end), async |(journal, form, next, held, end)| {
        let (bytes, next) = match next {
            Next::Hello => (Bytes::from_static(b": listening\n\n"), Next::From(0)),
            Next::From(count) => match following(&journal, count, form).await {
                Some(Some(entries)) => (form.written(&entries), Next::From(count + entries.len())),
                Some(None) => (Bytes::from_static(b":\n\n"), Next::From(count)),
                None if form == Form::Events => {
                    (format!("event: end\ndata: {}\n\n", end()).into(), Next::Over)
                }
                None => return None,
            },
            Next::Over => return None,
        };
        Some((Ok::<_, Infallible>(bytes), (journal, form, next, held, end)))
    });
    let mut response = Body::from_stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    // Turns off response buffering in nginx.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Returns the next entries, `Some(None)` if server-sent events need a sign of life, and `None` at the end.
async fn following(journal: &Journal, count: usize, form: Form) -> Option<Option<Vec<Entry>>> {
    match form {
        Form::Lines => journal.next(count).await.map(Some),
        Form::Events => match tokio::time::timeout(KEEP_ALIVE, journal.next(count)).await {
            Ok(entries) => entries.map(Some),
            Err(_) => Some(None),
        },
    }
}
