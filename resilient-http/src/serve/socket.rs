//! A connection whose other side must take what it is sent.

use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::connections::Connection;

/// Fails when nothing has been taken for a time; tells the [`Connection`] whether anything is yet to be taken.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    connection: Arc<Connection>,
    write_time: Duration,
    /// Until when the client must take something; none while nothing waits.
    limit: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, connection: Arc<Connection>, write_time: Duration) -> Self {
        Self { stream, connection, write_time, limit: None }
    }

    fn written(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<Result<usize>>,
        all: usize,
    ) -> Poll<Result<usize>> {
        match poll {
            Poll::Ready(Ok(count)) => {
                self.limit = None;
                self.connection.set_writing(count < all);
                poll
            }
            Poll::Ready(Err(_)) => poll,
            Poll::Pending => {
                self.connection.set_writing(true);
                let span = self.write_time;
                let limit = self.limit.get_or_insert_with(|| Box::pin(tokio::time::sleep(span)));
                limit.as_mut().poll(cx).map(|()| {
                    Err(Error::new(ErrorKind::TimedOut, "the client does not take what it is sent"))
                })
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, poll, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        let all = parts.iter().map(|part| part.len()).sum();
        self.written(cx, poll, all)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
