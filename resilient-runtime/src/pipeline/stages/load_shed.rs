//! The load shedding stage: admits a call once for all its attempts and releases it after the last one.

use std::time::Duration;

use crate::classify::{Class, Verdict};
use crate::clock::Instant;
use crate::load_shed::{Admitted, End};
use crate::observe::Ending;
use crate::pipeline::{Call, Pipeline};
use crate::rejection::Rejection;

/// The slot of a call at the load shedder, from before the first attempt until after the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pipeline) enum Load {
    /// It was not admitted yet, or was released.
    #[default]
    None,
    /// It is in flight.
    InFlight,
}

impl Load {
    #[inline]
    pub(in crate::pipeline) fn is_in_flight(self) -> bool {
        self == Self::InFlight
    }
}

impl Call<'_> {
    /// Sets when the call arrived, on the registry's clock.
    ///
    /// The load shedder measures the time that the call has waited in a queue since then.
    #[inline(never)]
    pub fn set_arrived_at(&mut self, at: Instant) {
        if let Some(shedder) = &self.pipeline.stages.load_shed {
            shedder.arrived(at, self.time());
        }
    }

    /// Passes the load shedder, unless the call has already passed it. An inner stage that runs once for all attempts
    /// calls this first.
    #[inline]
    pub(in crate::pipeline) fn pass_shedder(&mut self) -> Result<(), Rejection> {
        if self.pipeline.stages.load_shed.is_some() { self.ask_shedder() } else { Ok(()) }
    }

    #[inline(never)]
    fn ask_shedder(&mut self) -> Result<(), Rejection> {
        let pipeline = self.pipeline;
        let Some(shedder) =
            pipeline.stages.load_shed.as_deref().filter(|_| !self.load.is_in_flight() && !self.is_racer())
        else {
            return Ok(());
        };
        if self.clock.is_late() {
            let late = self.out_of_time();
            self.ending = Ending::of(&late);
            return Err(late);
        }
        let admitted = shedder.admit(self.priority, self.time());
        match admitted {
            Ok(()) => self.load = Load::InFlight,
            Err(_) => self.ending = Ending::Rejected,
        }
        admitted
    }

    /// Passes the load shedder if it admits the call at once. Otherwise counts nothing.
    #[inline]
    pub(in crate::pipeline) fn pass_shedder_plainly(&mut self) -> bool {
        self.pipeline.stages.load_shed.is_none() || self.try_shedder()
    }

    /// Not inlined, so that a pipeline without a load shedder does not pay for it.
    #[inline(never)]
    fn try_shedder(&mut self) -> bool {
        let pipeline = self.pipeline;
        let Some(shedder) = &pipeline.stages.load_shed else { return true };
        if self.load.is_in_flight() || self.is_racer() {
            return true;
        }
        let is_admitted = shedder.try_enter(self.priority, self.time());
        self.load = if is_admitted { Load::InFlight } else { Load::None };
        is_admitted
    }

    /// Reports that the call left the bulkhead queue with or without a permit. If it waited, it did so since `since`.
    pub(in crate::pipeline) fn was_queued(&self, has_waited: bool, is_admitted: bool, since: Instant) {
        let Some(shedder) = &self.pipeline.stages.load_shed else { return };
        if has_waited {
            let now = self.pipeline.clock.now();
            shedder.queued(now.nanos_since(since), now);
        } else if is_admitted {
            self.was_not_queued();
        }
    }

    /// Reports that a permit was free: the queue is empty.
    #[inline]
    pub(in crate::pipeline) fn was_not_queued(&self) {
        if self.pipeline.stages.load_shed.is_some() {
            self.tell_of_no_queue();
        }
    }

    #[inline(never)]
    fn tell_of_no_queue(&self) {
        // With bulkhead threads, the queue comes after the permit.
        let has_threads =
            self.pipeline.stages.bulkhead.as_ref().is_some_and(|bulkhead| bulkhead.has_threads());
        if let (Some(shedder), false) = (&self.pipeline.stages.load_shed, has_threads) {
            shedder.queued(0, self.time());
        }
    }

    /// Releases the slot after the last attempt.
    pub(in crate::pipeline) fn leave_shedder(&mut self, end: End) {
        if !self.load.is_in_flight() {
            return;
        }
        self.load = Load::None;
        if let Some(shedder) = &self.pipeline.stages.load_shed {
            shedder.leave(self.as_admitted(), end, self.clock.now.or_never());
        }
    }

    /// The call as recorded by the load shedder.
    pub(in crate::pipeline) fn as_admitted(&self) -> Admitted {
        Admitted { priority: self.priority, since: self.clock.started.or_never() }
    }

    /// Like `leave_shedder`, with the result derived from how the call ended.
    #[inline(never)]
    pub(in crate::pipeline) fn leave_shedder_at_end(&mut self) {
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
    /// Reports to the load shedder how long a call waited in a queue before the pipeline.
    ///
    /// Report it for every call before the call is made, even if it did not wait: the shortest wait counts. It has no
    /// effect without a load shedder.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Registry, Rejection};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("handle").load_shed("api").build();
    /// let accepted = registry.clock().now();
    /// // ... the request waits in a queue ...
    /// pipeline.waited(registry.clock().now().since(accepted));
    /// let answer: Result<u32, Rejection> = pipeline.call(|| Ok(1));
    /// # assert!(answer.is_ok());
    /// ```
    pub fn waited(&self, delay: Duration) {
        if let Some(shedder) = &self.stages.load_shed {
            shedder.waited(delay);
        }
    }
}
