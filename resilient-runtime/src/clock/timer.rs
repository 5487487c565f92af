//! A timer of tokio or of a manual clock, without a box.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::manual::Manual;
use super::{Clock, Instant, NoTimer};

pin_project! {
    /// Completes when its deadline is reached.
    #[project = TimerProj]
    #[derive(Debug)]
    pub(crate) enum Timer {
        Tokio { #[pin] sleep: tokio::time::Sleep },
        Manual { wait: ManualWait },
        Skewed { #[pin] wait: SkewedTimer },
    }
}

/// The timer of a skewable clock.
#[cfg(feature = "chaos")]
type SkewedTimer = Box<super::skewed::SkewedWait>;
/// Without the feature there is none.
#[cfg(not(feature = "chaos"))]
type SkewedTimer = std::future::Pending<()>;

impl Timer {
    pub(super) fn arm_tokio(mut place: Pin<&mut Option<Self>>, span: Duration) -> Result<(), NoTimer> {
        // Check first: it fails without printing the panic message that the next line would print.
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(NoTimer);
        }
        // The only way to detect a runtime without `enable_time` is to try.
        let arm = || place.set(Some(Self::Tokio { sleep: tokio::time::sleep(span) }));
        catch_unwind(AssertUnwindSafe(arm)).map_err(|_| NoTimer)
    }

    pub(super) fn manual(clock: &Arc<Manual>, at: Instant) -> Self {
        Self::Manual { wait: ManualWait { clock: Arc::clone(clock), at, key: None } }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.project() {
            TimerProj::Tokio { sleep } => sleep.poll(cx),
            TimerProj::Manual { wait } => wait.poll(cx),
            TimerProj::Skewed { wait } => wait.poll(cx),
        }
    }
}

/// A timer stored outside of the future that owns it.
#[derive(Debug)]
pub(crate) struct BoxedTimer(Pin<Box<Option<Timer>>>);

impl BoxedTimer {
    pub(crate) fn armed(clock: &Clock, at: Instant) -> Result<Self, NoTimer> {
        let mut timer = Box::pin(None);
        clock.arm(timer.as_mut(), at)?;
        Ok(Self(timer))
    }
}

impl Future for BoxedTimer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().as_pin_mut().map_or(Poll::Ready(()), |timer| timer.poll(cx))
    }
}

#[derive(Debug)]
pub(crate) struct ManualWait {
    clock: Arc<Manual>,
    at: Instant,
    key: Option<(Instant, u64)>,
}

impl ManualWait {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.forget();
        // Register before reading the time, so that an `advance` in between finds the waker.
        self.key = Some(self.clock.register(self.at, cx.waker().clone()));
        if self.clock.now() < self.at {
            return Poll::Pending;
        }
        self.forget();
        Poll::Ready(())
    }

    fn forget(&mut self) {
        if let Some(key) = self.key.take() {
            self.clock.forget(key);
        }
    }
}

impl Drop for ManualWait {
    fn drop(&mut self) {
        self.forget();
    }
}
