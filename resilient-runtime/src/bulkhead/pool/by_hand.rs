//! Runs work in a pool without a pipeline.

use std::pin::pin;
use std::sync::Arc;

use super::{End, Running, Waiting};
use crate::bulkhead::{Bulkhead, Permit};
use crate::classify::Verdict;
use crate::clock::{Instant, NoTimer};
use crate::context::Scope;
use crate::outcome::Reject;
use crate::priority::Priority;
use crate::rejection::{Rejection, RejectionKind};

impl Bulkhead {
    /// Runs `work` on a thread of the bulkhead, and blocks this thread until it ends.
    ///
    /// It stops waiting when the deadline of an enclosing call passes. Work that has started then continues and keeps
    /// its permit until it ends. Without `threads`, the work runs on this thread.
    ///
    /// A panic of the work is propagated to the caller.
    ///
    /// ```
    /// use std::thread::current;
    /// use resilient_runtime::{Component, Registry, bulkhead::Config};
    ///
    /// let bulkhead = Registry::new().bulkhead("pdf");
    /// bulkhead.reconfigure(Config::default().threads(1)).unwrap();
    /// let there = bulkhead.call_in_threads(|| Some(current().id())).unwrap();
    /// assert_ne!(there, current().id());
    /// ```
    pub fn call_in_threads<R: Reject<Error: 'static> + Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> R {
        self.call_in_threads_as(Priority::Normal, work)
    }

    /// Like [`call_in_threads`](Self::call_in_threads), with a priority.
    ///
    /// ```
    /// use resilient_runtime::{Component, Priority, Registry, bulkhead::Config};
    ///
    /// let bulkhead = Registry::new().bulkhead("invoice");
    /// bulkhead.reconfigure(Config::default().threads(1)).unwrap();
    /// assert_eq!(bulkhead.call_in_threads_as(Priority::High, || Some("made")), Some("made"));
    /// ```
    pub fn call_in_threads_as<R: Reject<Error: 'static> + Send + 'static>(
        self: &Arc<Self>,
        priority: Priority,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> R {
        if !self.has_threads() {
            return match self.acquire_blocking_as(priority) {
                Ok(permit) => settled(permit, work()),
                Err(rejection) => R::from_rejection(rejection),
            };
        }
        let deadline = self.inherited();
        if let Err(rejection) = self.admit_by(deadline, priority) {
            return R::from_rejection(rejection);
        }
        self.core.clock().warn_of_blocking(self.core.name);
        let mut running = self.start(priority, Scope::current(), false, work);
        match running.wait_blocking(self.core.clock(), |_| deadline) {
            Some((_, end)) => self.ended(end),
            None => R::from_rejection(self.late(running.leave(self.core.clock()))),
        }
    }

    /// Runs `work` on a thread of the bulkhead, and waits for its result.
    ///
    /// It does not wait past the deadline of an enclosing call. Without `threads`, the work runs on this thread,
    /// which it blocks.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry, bulkhead::Config};
    ///
    /// let bulkhead = Registry::new().bulkhead("hash");
    /// bulkhead.reconfigure(Config::default().threads(2)).unwrap();
    /// let sum = bulkhead.call_in_threads_async(|| Some((1..=100).sum::<u32>())).await;
    /// assert_eq!(sum, Some(5050));
    /// assert_eq!(bulkhead.stats().pool.unwrap().threads, 2);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future withdraws work that has not started. Work that has started continues and keeps its permit
    /// until it ends.
    pub async fn call_in_threads_async<R: Reject<Error: 'static> + Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> R {
        self.call_in_threads_as_async(Priority::Normal, work).await
    }

    /// Like [`call_in_threads_async`](Self::call_in_threads_async), with a priority.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Priority, Registry, bulkhead::Config};
    ///
    /// let bulkhead = Registry::new().bulkhead("parse");
    /// bulkhead.reconfigure(Config::default().threads(1)).unwrap();
    /// assert_eq!(bulkhead.call_in_threads_as_async(Priority::Low, || Some(7)).await, Some(7));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Same as [`call_in_threads_async`](Self::call_in_threads_async).
    pub async fn call_in_threads_as_async<R: Reject<Error: 'static> + Send + 'static>(
        self: &Arc<Self>,
        priority: Priority,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> R {
        if !self.has_threads() {
            return match self.acquire_as(priority).await {
                Ok(permit) => settled(permit, work()),
                Err(rejection) => R::from_rejection(rejection),
            };
        }
        let deadline = self.inherited();
        if let Err(rejection) = self.admit_by(deadline, priority) {
            return R::from_rejection(rejection);
        }
        let clock = self.core.clock();
        let running: Running<R> = self.start(priority, Scope::current(), false, work);
        let mut waiting = pin!(Waiting::new(running));
        let end = std::future::poll_fn(|cx| waiting.as_mut().poll_until(cx, clock, |_| deadline)).await;
        match end {
            Ok(Some((_, end))) => self.ended(end),
            Ok(None) => R::from_rejection(self.late(waiting.leave(clock))),
            Err(NoTimer) => R::from_rejection(self.refuse_for(RejectionKind::NoTimer)),
        }
    }

    fn admit_by(&self, deadline: Instant, priority: Priority) -> Result<(), Rejection> {
        if deadline != Instant::NEVER && self.core.clock().now() >= deadline {
            return Err(self.refuse_for(RejectionKind::QueueTimeout));
        }
        self.admit(priority)
    }

    fn ended<R: Reject>(&self, end: End<R>) -> R {
        match end {
            End::Value(outcome) => outcome,
            End::Panic(panic) => std::panic::resume_unwind(panic),
            End::Refused => R::from_rejection(self.refuse()),
        }
    }

    /// Creates the rejection after the deadline. Only work that has not started certainly had no effect (T33).
    fn late(&self, began: Option<Instant>) -> Rejection {
        match began {
            None => self.refuse_for(RejectionKind::QueueTimeout),
            Some(began) => {
                let elapsed = self.core.clock().now().since(began);
                Rejection::timed_out(RejectionKind::TotalTimeout, self.core.name, elapsed)
            }
        }
    }
}

fn settled<R: Reject<Error: 'static>>(permit: Permit<'_>, outcome: R) -> R {
    permit.settle(Verdict::of(&outcome));
    outcome
}
