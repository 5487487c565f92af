//! Ctrl-C and the request of the system to end.

use std::thread;

use crate::failure::Failure;

/// Calls `then` at each Ctrl-C, and on Unix at each `SIGTERM` and `SIGHUP`, from a thread of its own. The program does
/// not end by itself any more.
///
/// # Errors
/// Fails if the system does not allow to listen to them.
pub(crate) fn each(mut then: impl FnMut() + Send + 'static) -> Result<(), Failure> {
    let cannot =
        |error: std::io::Error| Failure::usage(format!("cannot listen to Ctrl-C and other signals: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    // From here on, a signal is not lost.
    let mut signals = {
        let _context = runtime.enter();
        Signals::new().map_err(cannot)?
    };
    // The thread has nothing else to do.
    #[allow(clippy::disallowed_methods)]
    thread::spawn(move || {
        runtime.block_on(async {
            while signals.next().await {
                then();
            }
        });
    });
    Ok(())
}

#[cfg(unix)]
struct Signals([tokio::signal::unix::Signal; 3]);

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind as Kind, signal};
        Ok(Self([signal(Kind::interrupt())?, signal(Kind::terminate())?, signal(Kind::hangup())?]))
    }

    async fn next(&mut self) -> bool {
        let [interrupt, terminate, hangup] = &mut self.0;
        let signal = std::future::poll_fn(|context| {
            for signal in [&mut *interrupt, &mut *terminate, &mut *hangup] {
                if let std::task::Poll::Ready(signal) = signal.poll_recv(context) {
                    return std::task::Poll::Ready(signal);
                }
            }
            std::task::Poll::Pending
        });
        signal.await.is_some()
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> bool {
        tokio::signal::ctrl_c().await.is_ok()
    }
}
