//! The effect of the faults on an operation of a store.

use std::collections::VecDeque;
use std::future::poll_fn;

use super::action::Action;
use super::injection::{Blocked, Wait};
use super::on_component::OnComponent;
use crate::clock::{Clock, Instant};
use crate::kind::Kind;
use crate::rejection::InjectedBy;

/// The effect of all faults that hit an operation of a store: it waits, and then fails or reaches the store.
#[derive(Debug)]
pub(crate) struct StoreInjection {
    waits: VecDeque<Wait>,
    failure: Option<InjectedBy>,
}

/// The next step of an operation.
#[derive(Debug)]
pub(crate) enum Next {
    /// It reaches the store.
    Store,
    Fail(InjectedBy),
    /// It waits longer than its caller.
    Late,
}

impl StoreInjection {
    /// Draws the faults that hit an operation of the store of a component.
    #[cold]
    pub(crate) fn draw(faults: &OnComponent, component: (Kind, &'static str)) -> Self {
        let mut injection = Self { waits: VecDeque::new(), failure: None };
        faults.draw(component, |mut hit| {
            match hit.armed.action {
                Action::SlowStore(latency) => {
                    let span = latency.sample(&mut hit.dice);
                    injection.waits.push_back(Wait::new(hit, Some(span)));
                }
                _ => injection.failure = Some(hit.injected_by()),
            }
            injection.failure.is_none()
        });
        injection
    }

    /// Waits. Without a timer it waits until it is dropped or the faults end.
    pub(crate) async fn pass(mut self, clock: &Clock, name: &'static str) -> Next {
        poll_fn(|cx| {
            while let Some(wait) = self.waits.front_mut() {
                match wait.poll(cx, clock, name) {
                    std::task::Poll::Ready(Ok(())) => drop(self.waits.pop_front()),
                    // The end of the fault wakes it.
                    std::task::Poll::Ready(Err(_)) | std::task::Poll::Pending => {
                        return std::task::Poll::Pending;
                    }
                }
            }
            std::task::Poll::Ready(self.failure.take().map_or(Next::Store, Next::Fail))
        })
        .await
    }

    /// Blocks the thread, at most until `limit`.
    pub(crate) fn block(mut self, clock: &Clock, limit: Instant) -> Next {
        while let Some(mut wait) = self.waits.pop_front() {
            if wait.block(clock, limit) == Blocked::Late {
                return Next::Late;
            }
        }
        self.failure.take().map_or(Next::Store, Next::Fail)
    }
}
