//! The correlation id as part of the context.

use super::rest::{self, Before};
use super::{Enter, Entered, Scoped, scoped};
use crate::correlation::CorrelationId;

impl CorrelationId {
    /// Returns the id of the enclosing scope.
    ///
    /// ```
    /// use resilient_runtime::correlation::CorrelationId;
    ///
    /// let seen = CorrelationId::parse("job-7").unwrap().scope(CorrelationId::current);
    /// assert_eq!(seen.unwrap().as_str(), "job-7");
    /// ```
    pub fn current() -> Option<Self> {
        rest::id()
    }

    /// Runs `work` with this id.
    ///
    /// ```
    /// use resilient_runtime::{Registry, correlation::CorrelationId};
    ///
    /// let registry = Registry::new();
    /// let mut events = registry.subscribe();
    /// let id = CorrelationId::parse("job-7").unwrap();
    /// id.scope(|| registry.circuit_breaker("payment").force_open());
    /// assert_eq!(events.try_recv().unwrap().correlation_id, Some(id));
    /// assert!(CorrelationId::current().is_none());
    /// ```
    pub fn scope<R>(&self, work: impl FnOnce() -> R) -> R {
        let _entered = self.clone().enter();
        work()
    }

    /// Polls `work` with this id.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::correlation::CorrelationId;
    ///
    /// let who = async || CorrelationId::current().unwrap().to_string();
    /// let scoped = |name| CorrelationId::parse(name).unwrap().scope_async(who());
    /// assert_eq!(tokio::join!(scoped("a"), scoped("b")), ("a".into(), "b".into()));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future drops the work.
    pub fn scope_async<F: Future>(self, work: F) -> Scoped<F, Self> {
        scoped(self, work)
    }

    /// Makes this the current id of the thread until the guard is dropped.
    #[must_use = "the id is current until the guard is dropped"]
    pub(crate) fn enter(self) -> Entered<Before> {
        rest::enter_id(self)
    }
}

impl Enter for CorrelationId {
    fn enter(&self) -> impl Sized + use<> {
        rest::enter_id(self.clone())
    }
}
