//! The loop around attempts that run on threads of the bulkhead, for pipelines that are called by hand.

use super::drive::{CallFailure, Judges, Surfaced, Surfaceless};
use super::methods::Method;
use super::{Call, Next, Options, Pipeline};
use crate::fallback::{AllFailed, Chain};
use crate::outcome::{Judgement, Reject};

impl Pipeline {
    /// Runs `work` on a thread of the bulkhead's own, through the stages; blocks this thread, no longer than the timeout.
    /// Each attempt runs a clone. Without a bulkhead that has `threads` the work is done in place, and cannot be left.
    ///
    /// A pipeline with a hedge is refused: an attempt that loses could not be stopped. So is one that limits the time of an
    /// attempt, where the bulkhead has no threads.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Registry, Rejection, RejectionKind, bulkhead, timeout};
    ///
    /// let registry = Registry::new();
    /// registry.bulkhead("reports").reconfigure(bulkhead::Config::default().threads(2u32)).unwrap();
    /// registry.timeout("reports").reconfigure(timeout::Config::default().total(Duration::from_millis(50))).unwrap();
    /// let pipeline = registry.pipeline("report").bulkhead("reports").timeout("reports").build();
    /// assert_eq!(pipeline.run(|| Ok::<_, Rejection>(1)), Ok(1));
    ///
    /// let (end, hangs) = std::sync::mpsc::channel::<()>();
    /// let hangs = std::sync::Arc::new(std::sync::Mutex::new(hangs));
    /// let late = pipeline.run(move || Ok::<_, Rejection>(drop(hangs.lock().unwrap().recv())));
    /// assert_eq!(late.unwrap_err().kind(), RejectionKind::TotalTimeout);
    /// assert_eq!(registry.bulkhead("reports").stats().pool.unwrap().abandoned, 1, "it runs on");
    /// # drop(end);
    /// ```
    pub fn run<R: Reject<Error: 'static> + Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Clone + Send + 'static,
    ) -> R {
        self.run_judged(Options::default(), work, Judgement::of)
    }

    /// As [`run`](Self::run), with a [`Priority`](crate::Priority) or other [`Options`], and a judge of your own, such as
    /// [`Verdict::by_class`](crate::Verdict::by_class).
    ///
    /// ```
    /// use resilient_runtime::{Class, Component, Priority, Registry, Verdict, bulkhead::Config};
    ///
    /// let registry = Registry::new();
    /// registry.bulkhead("ocr").reconfigure(Config::default().threads(1)).unwrap();
    /// let pipeline = registry.pipeline("scan").bulkhead("ocr").build();
    /// let blank_is_fine = |_: &Option<String>| Verdict::Failure(Class::Ignored);
    /// assert_eq!(pipeline.run_judged(Priority::Low, || None, blank_is_fine), None);
    /// assert_eq!((pipeline.stats().ignored, pipeline.stats().failed), (1, 0));
    /// ```
    pub fn run_judged<R: Reject<Error: 'static> + Send + 'static, J: Into<Judgement>>(
        &self,
        options: impl Into<Options>,
        work: impl FnOnce() -> R + Clone + Send + 'static,
        judge: impl Fn(&R) -> J,
    ) -> R {
        let mut call = self.begin(options.into());
        drive_in_pool(&mut call, Method::Run, &work, &Surfaced(judge)).unwrap_or_else(CallFailure::surface)
    }

    /// As [`run`](Self::run), and through the levels of `chain` if it failed, on this thread. The chain is built only then.
    ///
    /// ```
    /// use std::thread::current;
    /// use resilient_runtime::{Component, Registry, bulkhead::Config, fallback::{Chain, Level}};
    ///
    /// let registry = Registry::new();
    /// registry.bulkhead("render").reconfigure(Config::default().threads(1)).unwrap();
    /// let pipeline = registry.pipeline("chart").bulkhead("render").fallback("chart").build();
    /// let here = pipeline.run_or(|| None, || Chain::of(Level::Default, |_| Some(current().id())));
    /// assert_eq!(here, Some(current().id()));
    /// ```
    pub fn run_or<'a, R: AllFailed<Error: 'static> + Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Clone + Send + 'static,
        chain: impl FnOnce() -> Chain<'a, R>,
    ) -> R {
        let mut call = self.begin(Options::default());
        match drive_in_pool(&mut call, Method::RunOr, &work, &Surfaceless(Judgement::of)) {
            Ok(outcome) => outcome,
            Err(missed) => chain().answer(&mut call, missed.into_failure()),
        }
    }

    /// As [`run`](Self::run), without blocking this thread: for blocking work in an asynchronous program.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry, bulkhead::Config};
    ///
    /// let registry = Registry::new();
    /// registry.bulkhead("crypto").reconfigure(Config::default().threads(2)).unwrap();
    /// let pipeline = registry.pipeline("sum").bulkhead("crypto").build();
    /// assert_eq!(pipeline.run_async(|| Some((1..=10).product::<u32>())).await, Some(3_628_800));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future withdraws the work if it has not begun; else it runs on, and keeps its place until it ends.
    pub async fn run_async<R: Reject<Error: 'static> + Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Clone + Send + 'static,
    ) -> R {
        self.run_judged_async(Options::default(), work, Judgement::of).await
    }

    /// As [`run_judged`](Self::run_judged), without blocking this thread.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Priority, Registry, Verdict, bulkhead::Config};
    ///
    /// let registry = Registry::new();
    /// registry.bulkhead("disk").reconfigure(Config::default().threads(1)).unwrap();
    /// let pipeline = registry.pipeline("load").bulkhead("disk").retry("disk").build();
    /// let load = || std::fs::read("/no/such/file");
    /// assert!(pipeline.run_judged_async(Priority::High, load, Verdict::by_class).await.is_err());
    /// assert_eq!(registry.retry("disk").stats().retries, 0, "it would not be there the next time");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`run_async`](Self::run_async).
    pub async fn run_judged_async<R: Reject<Error: 'static> + Send + 'static, J: Into<Judgement>>(
        &self,
        options: impl Into<Options>,
        work: impl FnOnce() -> R + Clone + Send + 'static,
        judge: impl Fn(&R) -> J,
    ) -> R {
        let mut call = self.begin(options.into());
        drive_in_pool_async(&mut call, Method::RunAsync, work, &Surfaced(judge))
            .await
            .unwrap_or_else(CallFailure::surface)
    }

    /// As [`run_or`](Self::run_or), without blocking this thread in the work.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry, bulkhead::Config, fallback::{Chain, Level}};
    ///
    /// let registry = Registry::new();
    /// registry.bulkhead("zip").reconfigure(Config::default().threads(1)).unwrap();
    /// let pipeline = registry.pipeline("pack").bulkhead("zip").fallback("pack").build();
    /// let plain = || Chain::of(Level::Default, |_| Some("unpacked"));
    /// assert_eq!(pipeline.run_or_async(|| None, plain).await, Some("unpacked"));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`run_async`](Self::run_async).
    pub async fn run_or_async<'a, R: AllFailed<Error: 'static> + Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Clone + Send + 'static,
        chain: impl FnOnce() -> Chain<'a, R>,
    ) -> R {
        let mut call = self.begin(Options::default());
        match drive_in_pool_async(&mut call, Method::RunOrAsync, work, &Surfaceless(Judgement::of)).await {
            Ok(outcome) => outcome,
            Err(missed) => chain().answer(&mut call, missed.into_failure()),
        }
    }
}

fn drive_in_pool<R: Send + 'static>(
    call: &mut Call<'_>,
    method: Method,
    work: &(impl FnOnce() -> R + Clone + Send + 'static),
    judge: &impl Judges<R>,
) -> Result<R, CallFailure<R>> {
    if let Err(rejection) = call.honoured_by(method) {
        return Err(CallFailure::Rejected(rejection));
    }
    loop {
        if let Err(rejection) = call.enter_blocking() {
            match call.refused(&rejection, || judge.hear(&rejection)) {
                Next::Retry => continue,
                _ => return Err(CallFailure::Rejected(rejection)),
            }
        }
        match call.attempt_in_pool(work.clone()) {
            Ok(outcome) => {
                match call.finish_with(judge.judge(&outcome), |words| judge.describe(&outcome, words)) {
                    Next::Return => return Ok(outcome),
                    Next::Fail => return Err(CallFailure::Failed(outcome)),
                    Next::Retry => {}
                }
            }
            Err(rejection) => {
                if call.timed_out_as(&rejection, judge.hear(&rejection)) == Next::Fail {
                    return Err(CallFailure::Rejected(rejection));
                }
            }
        }
    }
}

/// `work` by value: a reference to it could be sent only if it were `Sync`.
async fn drive_in_pool_async<R: Send + 'static>(
    call: &mut Call<'_>,
    method: Method,
    work: impl FnOnce() -> R + Clone + Send + 'static,
    judge: &impl Judges<R>,
) -> Result<R, CallFailure<R>> {
    if let Err(rejection) = call.honoured_by(method) {
        return Err(CallFailure::Rejected(rejection));
    }
    loop {
        if !call.enter()
            && let Err(rejection) = call.enter_later().await
        {
            match call.refused(&rejection, || judge.hear(&rejection)) {
                Next::Retry => continue,
                _ => return Err(CallFailure::Rejected(rejection)),
            }
        }
        match call.attempt_in_pool_async(work.clone()).await {
            Ok(outcome) => {
                match call.finish_with(judge.judge(&outcome), |words| judge.describe(&outcome, words)) {
                    Next::Return => return Ok(outcome),
                    Next::Fail => return Err(CallFailure::Failed(outcome)),
                    Next::Retry => {}
                }
            }
            Err(rejection) => {
                if call.timed_out_as(&rejection, judge.hear(&rejection)) == Next::Fail {
                    return Err(CallFailure::Rejected(rejection));
                }
            }
        }
    }
}
