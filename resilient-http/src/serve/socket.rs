//! Socket that reports its traffic to its [`Connection`].

use std::io::{IoSlice, Result};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::connection::Connection;

/// Maximum number of unsent bytes in the kernel.
///
/// With a large buffer, the server would measure how fast the buffer fills, not how fast the client reads. A small
/// buffer also limits the memory that a client that reads nothing can hold.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 16 * 1024;

#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        // If the option cannot be set, a slow client is detected later.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
        Self { stream, connection }
    }

    fn written(&self, poll: Poll<Result<usize>>, all: usize) -> Poll<Result<usize>> {
        match &poll {
            Poll::Ready(Ok(count)) => self.connection.taken(*count, *count == all),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.connection.nothing_taken(),
        }
        poll
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        match &poll {
            // The kernel can have bytes that the runtime has not been notified of; then the connection stays open.
            Poll::Pending if self.connection.is_ending() => {
                let there = SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]);
                self.connection.came(there.unwrap_or(0));
            }
            Poll::Pending => self.connection.nothing_came(),
            Poll::Ready(_) => self.connection.came(buffer.filled().len() - before),
        }
        poll
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.connection.is_reset() {
            // Otherwise the kernel would keep the unsent bytes for minutes.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(poll, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        let all = parts.iter().map(|part| part.len()).sum();
        self.written(poll, all)
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
