//! Load shedding: a call is admitted once for all its attempts, and let out when the last has ended.

use std::time::Duration;

use crate::classify::{Class, Verdict};
use crate::clock::Instant;
use crate::load_shed::{Admitted, End};
use crate::observe::Ending;
use crate::pipeline::{Call, Pipeline};
use crate::rejection::Rejection;

/// The place of a call at the load shedder: from before the first attempt until after the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pipeline) enum Load {
    /// It has not passed the load shedder, or has been let out.
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
    /// Since when the call has been under way, on the registry's clock: what it has waited since then in a queue shows
    /// the load shedder whether that stands.
    #[inline(never)]
    pub fn set_arrived_at(&mut self, at: Instant) {
        if let Some(shedder) = &self.pipeline.stages.load_shed {
            shedder.arrived(at, self.time());
        }
    }

    /// Passes the load shedder, unless it has done so before. A stage behind it that comes once for all attempts calls
    /// this first.
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

    /// Passes it if nothing may be against that; counts nothing if not.
    #[inline]
    pub(in crate::pipeline) fn pass_shedder_plainly(&mut self) -> bool {
        self.pipeline.stages.load_shed.is_none() || self.try_shedder()
    }

    /// Not inline, as the others that follow such a look at the pipeline: what has no load shedder pays no more.
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

    /// It comes back from the bulkhead, with a permit or without: if it was in the queue, then `since` that time.
    pub(in crate::pipeline) fn was_queued(&self, has_waited: bool, is_admitted: bool, since: Instant) {
        let Some(shedder) = &self.pipeline.stages.load_shed else { return };
        if has_waited {
            let now = self.pipeline.clock.now();
            shedder.queued(now.nanos_since(since), now);
        } else if is_admitted {
            self.was_not_queued();
        }
    }

    /// It found a permit free: the queue does not stand.
    #[inline]
    pub(in crate::pipeline) fn was_not_queued(&self) {
        if self.pipeline.stages.load_shed.is_some() {
            self.tell_of_no_queue();
        }
    }

    #[inline(never)]
    fn tell_of_no_queue(&self) {
        // Where there are threads the queue is behind the permit.
        let has_threads =
            self.pipeline.stages.bulkhead.as_ref().is_some_and(|bulkhead| bulkhead.has_threads());
        if let (Some(shedder), false) = (&self.pipeline.stages.load_shed, has_threads) {
            shedder.queued(0, self.time());
        }
    }

    /// The last attempt has ended.
    pub(in crate::pipeline) fn leave_shedder(&mut self, end: End) {
        if !self.load.is_in_flight() {
            return;
        }
        self.load = Load::None;
        if let Some(shedder) = &self.pipeline.stages.load_shed {
            shedder.leave(self.as_admitted(), end, self.clock.now.or_never());
        }
    }

    /// What the load shedder knows of the call.
    pub(in crate::pipeline) fn as_admitted(&self) -> Admitted {
        Admitted { priority: self.priority, since: self.clock.started.or_never() }
    }

    /// The same, going by how the call ended.
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
    /// Reports how long a call has waited in a queue before the pipeline, for the load shedder, where there is one. Report
    /// it for each call before it is made, also for one that did not wait at all: the shortest wait counts.
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
        if let Some(shedder) = &self.stages.load_shed {
            shedder.waited(delay);
        }
    }
}
