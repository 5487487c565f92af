//! A socket that tells its [`Connection`] what moves.

use std::io::{IoSlice, Result};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::connection::Connection;

/// Bytes that wait in the kernel to be sent, at most. It is then the client's pace that is seen, not that at which a large
/// buffer is filled; and a client that takes nothing holds little memory.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 16 * 1024;

#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        // Where it cannot be set, a slow client is noticed later.
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
            // The kernel may know of bytes of which the runtime does not know yet; then it is not closed.
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
            // Otherwise the kernel would keep what is unsent for minutes.
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
