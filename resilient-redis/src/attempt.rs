//! An attempt whose result concurrent callers share.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::problem::Failure;

/// The current value, or the attempt that creates it.
pub(crate) struct Shared<T> {
    state: Mutex<State<T>>,
    /// The shortest time between the starts of two attempts after a failure. Until then, the failure is returned.
    pause: Duration,
}

struct State<T> {
    /// The number of the last attempt.
    number: u64,
    started: Option<Instant>,
    current: Option<Current<T>>,
}

/// An attempt, and its result when it has ended.
pub(crate) type Current<T> = watch::Receiver<Option<Result<T, Failure>>>;

impl<T: Clone + Send + Sync + 'static> Shared<T> {
    pub(crate) fn new(pause: Duration) -> Self {
        Self { state: Mutex::new(State { number: 0, started: None, current: None }), pause }
    }

    /// Returns the value, or the result of an attempt. The attempt continues if all callers leave.
    pub(crate) async fn get<A>(&self, attempt: impl FnOnce(u64) -> A) -> Result<T, Failure>
    where
        A: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let current = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(current) = &state.current
                && let Some(Ok(value)) = &*current.borrow()
            {
                return Ok(value.clone());
            }
            let is_recent = state.started.is_some_and(|started| started.elapsed() < self.pause);
            let usable = state.current.as_ref().filter(|current| match &*current.borrow() {
                Some(result) => result.is_err() && is_recent,
                None => is_running(current),
            });
            match usable {
                Some(usable) => usable.clone(),
                None => state.start(Instant::now(), attempt),
            }
        };
        result(current).await
    }

    /// Starts an attempt even if there is a value, unless one is running. Its [`result`] need not be awaited.
    ///
    /// It starts at the earliest one `pause` after the last one.
    pub(crate) fn renew<A>(&self, attempt: impl FnOnce(u64) -> A) -> Current<T>
    where
        A: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let running =
            state.current.as_ref().filter(|current| current.borrow().is_none() && is_running(current));
        match running {
            Some(running) => running.clone(),
            None => {
                let now = Instant::now();
                let at = state.started.map_or(now, |started| now.max(started + self.pause));
                state.start(at, attempt)
            }
        }
    }

    /// Forgets the value of this attempt, so that the next caller starts another one.
    pub(crate) fn discard(&self, number: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.number == number {
            state.current = None;
        }
    }
}

impl<T> Shared<T> {
    /// Forgets the value if it is not the right one any longer.
    pub(crate) fn discard_if(&self, is_wrong: impl FnOnce(&T) -> bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let found = state.current.as_ref();
        if found.is_some_and(|current| matches!(&*current.borrow(), Some(Ok(value)) if is_wrong(value))) {
            state.current = None;
        }
    }
}

impl<T: Clone + Send + Sync + 'static> State<T> {
    fn start<A>(&mut self, at: Instant, attempt: impl FnOnce(u64) -> A) -> Current<T>
    where
        A: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        self.number += 1;
        self.started = Some(at);
        let (sender, receiver) = watch::channel(None);
        let attempt = attempt(self.number);
        tokio::spawn(async move {
            // A timer of tokio takes a millisecond at least.
            if at > Instant::now() {
                sleep_until(at).await;
            }
            sender.send_replace(Some(attempt.await));
        });
        self.current = Some(receiver.clone());
        receiver
    }
}

/// Whether an attempt without a result has not panicked, which drops the sender.
fn is_running<T>(current: &Current<T>) -> bool {
    current.has_changed().is_ok()
}

/// Waits for the result of an attempt.
pub(crate) async fn result<T: Clone>(mut current: Current<T>) -> Result<T, Failure> {
    let found = current.wait_for(Option::is_some).await;
    let stopped = || Err(Failure::Found("the connection attempt was stopped".into()));
    found.ok().and_then(|found| found.clone()).unwrap_or_else(stopped)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn concurrent_callers_share_an_attempt_and_a_failure_is_not_repeated_at_once() {
        let (shared, attempts) =
            (Shared::<u32>::new(Duration::from_millis(100)), Arc::new(AtomicU32::new(0)));
        let fail = |_| {
            attempts.fetch_add(1, Ordering::Relaxed);
            async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Err(Failure::Found("down".into()))
            }
        };
        let start = Instant::now();
        let mut calls = 0;
        while start.elapsed() < Duration::from_secs(1) {
            let (a, b) = tokio::join!(shared.get(fail), shared.get(fail));
            assert!(a.is_err() && b.is_err());
            calls += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(calls > 500);
        assert_eq!(attempts.load(Ordering::Relaxed), 10);
        assert!(matches!(result(shared.renew(async |_| Ok(7))).await, Ok(7)));
        assert!(matches!(shared.get(fail).await, Ok(7)));
        assert_eq!(attempts.load(Ordering::Relaxed), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn renewals_are_at_least_a_pause_apart_and_one_follows_each_request() {
        let shared = Arc::new(Shared::<u64>::new(Duration::from_millis(100)));
        let start = Instant::now();
        assert!(matches!(result(shared.renew(async |number| Ok(number))).await, Ok(1)));
        assert!(matches!(result(shared.renew(async |number| Ok(number))).await, Ok(2)));
        assert_eq!(start.elapsed(), Duration::from_millis(100));
        shared.discard(2);
        assert!(matches!(shared.get(async |number| Ok(number)).await, Ok(3)));
    }
}
