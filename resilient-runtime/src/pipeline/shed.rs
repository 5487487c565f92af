//! A call at the load shedder: admitted once for all its attempts, and let out when the last has ended.

use std::time::Duration;

use super::{Call, Pipeline};
use crate::classify::Class;
use crate::clock::Instant;
use crate::load_shed::{Admitted, End};
use crate::observe::Ending;
use crate::outcome::Verdict;
use crate::rejection::Rejection;

impl Call<'_> {
    /// Since when the call has been under way, on the registry's clock: what it has waited since then in a queue shows
    /// the load shedder whether that stands.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Priority, Registry, clock::ManualClock, pipeline::Call};
    ///
    /// let time = ManualClock::new();
    /// let registry = Registry::with_clock(time.clock());
    /// let pipeline = registry.pipeline("pay").load_shed("api").build();
    /// for _ in 0..20 {
    ///     let arrived = time.clock().now();
    ///     time.advance(Duration::from_millis(35));
    ///     Call::begin(&pipeline).set_arrived_at(arrived);
    /// }
    /// assert!(registry.load_shedder("api").try_acquire_as(Priority::Low).is_err(), "the queue stands");
    /// ```
    #[inline(never)]
    pub fn set_arrived_at(&mut self, at: Instant) {
        if let Some(shedder) = &self.pipeline.load_shed {
            shedder.arrived(at, self.time());
        }
    }

    /// Passes the load shedder, unless it has done so before. What comes once for all attempts, and behind it, is to
    /// call this first.
    #[inline]
    pub(super) fn pass_shedder(&mut self) -> Result<(), Rejection> {
        if self.pipeline.load_shed.is_some() { self.ask_shedder() } else { Ok(()) }
    }

    #[inline(never)]
    fn ask_shedder(&mut self) -> Result<(), Rejection> {
        let pipeline = self.pipeline;
        let Some(shedder) = pipeline.load_shed.as_deref().filter(|_| !self.holds_load && !self.is_flight())
        else {
            return Ok(());
        };
        if self.is_late() {
            let late = self.out_of_time();
            self.ending = Ending::of(&late);
            return Err(late);
        }
        let admitted = shedder.admit(self.priority, self.time());
        match admitted {
            Ok(()) => self.holds_load = true,
            Err(_) => self.ending = Ending::Rejected,
        }
        admitted
    }

    /// Passes it if nothing may be against that; counts nothing if not.
    #[inline]
    pub(super) fn pass_shedder_plainly(&mut self) -> bool {
        self.pipeline.load_shed.is_none() || self.try_shedder()
    }

    /// Not inline, as the others that follow such a look at the pipeline: what has no load shedder pays no more.
    #[inline(never)]
    fn try_shedder(&mut self) -> bool {
        let pipeline = self.pipeline;
        let Some(shedder) = &pipeline.load_shed else { return true };
        if self.holds_load || self.is_flight() {
            return true;
        }
        self.holds_load = shedder.try_enter(self.priority, self.time());
        self.holds_load
    }

    /// It comes back from the bulkhead, with a permit or without: if it was in the queue, then `since` that time.
    pub(super) fn was_queued(&self, has_waited: bool, is_admitted: bool, since: Instant) {
        let Some(shedder) = &self.pipeline.load_shed else { return };
        if has_waited {
            let now = self.pipeline.clock.now();
            shedder.queued(now.nanos_since(since), now);
        } else if is_admitted {
            self.was_not_queued();
        }
    }

    /// It found a permit free: the queue does not stand.
    #[inline]
    pub(super) fn was_not_queued(&self) {
        if self.pipeline.load_shed.is_some() {
            self.tell_of_no_queue();
        }
    }

    #[inline(never)]
    fn tell_of_no_queue(&self) {
        // Where there are threads the queue is behind the permit.
        let has_threads = self.pipeline.bulkhead.as_ref().is_some_and(|bulkhead| bulkhead.has_threads());
        if let (Some(shedder), false) = (&self.pipeline.load_shed, has_threads) {
            shedder.queued(0, self.time());
        }
    }

    /// The last attempt has ended.
    pub(super) fn leave_shedder(&mut self, end: End) {
        if !self.holds_load {
            return;
        }
        self.holds_load = false;
        if let Some(shedder) = &self.pipeline.load_shed {
            let call = Admitted { priority: self.priority, since: self.started };
            shedder.leave(call, end, self.now);
        }
    }

    /// The same, going by how the call ended.
    #[inline(never)]
    pub(super) fn leave_shedder_at_end(&mut self) {
        let end = match self.ending {
            Ending::Succeeded => End::Judged(Verdict::Success),
            Ending::Ignored => End::Judged(Verdict::Failure(Class::Ignored)),
            Ending::Failed | Ending::Panicked => End::Judged(Verdict::Failure(Class::TRANSIENT)),
            Ending::TimedOut | Ending::Rejected | Ending::Cancelled | Ending::FellBack => End::Unknown,
        };
        self.leave_shedder(end);
    }
}

impl Pipeline {
    /// Says how long a call has waited in a queue before the pipeline, for the load shedder, where there is one. To be
    /// said of each call before it is made, also of one that did not wait at all: it is the shortest wait that counts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Registry, Rejection};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("handle").load_shed("api").build();
    /// let accepted = registry.clock().now();
    /// // ... the request lies in a queue ...
    /// pipeline.waited(registry.clock().now().since(accepted));
    /// let answer: Result<u32, Rejection> = pipeline.call(|| Ok(1));
    /// # assert!(answer.is_ok());
    /// ```
    pub fn waited(&self, delay: Duration) {
        if let Some(shedder) = &self.load_shed {
            shedder.waited(delay);
        }
    }
}
