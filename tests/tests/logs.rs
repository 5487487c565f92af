//! Log lines that report mistakes of the program, and how often they are logged.

use std::cell::Cell;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use resilient_runtime::clock::{Clock, ManualClock};
use resilient_runtime::{Component, EventKind, Ratio, Registry, Rejection, RejectionKind, resilient, retry};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Collects the log lines of this thread: level, target and fields.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("resilient_runtime") && *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{} {}", event.metadata().level(), event.metadata().target()));
        event.record(&mut line);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line.0);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Log {
    /// The lines of this level.
    fn of(&self, level: Level) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line.starts_with(level.as_str())).cloned().collect()
    }
}

#[test]
fn a_limiter_without_a_rate_warns_once_and_names_the_remedy() {
    #[resilient(registry = registry, rate_limit = "api")]
    fn get(registry: &Registry) -> Result<u32, Rejection> {
        Ok(1)
    }
    let log = Log::default();
    let registry = Registry::with_clock(ManualClock::new().clock());
    tracing::subscriber::with_default(log.clone(), || {
        assert_eq!((get(&registry), get(&registry)), (Ok(1), Ok(1)));
    });
    let warned = log.of(Level::WARN);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("`rate_limit(\"api\", rate = \"100/s\")`"), "{warned:?}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_timed_out_is_not_repeated_and_the_log_says_why() {
    #[resilient(registry = registry, retry(max = 3), timeout(attempt = "50ms"))]
    async fn hang(registry: &Registry, attempts: &Cell<u32>) -> Result<u32, Rejection> {
        attempts.set(attempts.get() + 1);
        std::future::pending().await
    }
    let log = Log::default();
    let _here = tracing::subscriber::set_default(log.clone());
    let (registry, attempts) = (Registry::with_clock(Clock::tokio()), Cell::new(0));
    let mut events = registry.subscribe();
    let rejection = hang(&registry, &attempts).await.unwrap_err();
    assert_eq!((rejection.kind(), attempts.get()), (RejectionKind::AttemptTimeout, 1));
    assert!(std::iter::from_fn(|| events.try_recv()).any(|event| event.what == EventKind::NotRepeated));
    let why = "may have had an effect; declare the function `idempotent` to retry it";
    let logged = log.of(Level::DEBUG).iter().filter(|line| line.contains(why)).count();
    assert_eq!(logged, 1, "{:?}", log.of(Level::DEBUG));
}

#[test]
fn too_many_names_warn_once() {
    let (log, registry) = (Log::default(), Registry::with_clock(ManualClock::new().clock()));
    tracing::subscriber::with_default(log.clone(), || {
        (0..16_500).for_each(|number| drop(registry.timeout(&number.to_string())));
    });
    let warned = log.of(Level::WARN);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(
        warned[0].contains("`__overflow__`")
            && warned[0].contains("name=\"16384\"")
            && warned[0].contains("use fewer names"),
        "{warned:?}"
    );
}

/// Retries every 9 s, at most ten times and for at most 15 s. Returns how long it took in virtual time.
async fn retried_for_15_seconds(clock: Clock) -> Duration {
    let registry = Registry::with_clock(clock);
    let config = retry::Config::default().max(10).jitter(Ratio::ZERO).base(Duration::from_secs(9));
    let config = config.max_delay(Duration::from_secs(9)).max_elapsed(Duration::from_secs(15));
    let retry = registry.retry("session");
    retry.reconfigure(config).unwrap();
    let began = tokio::time::Instant::now();
    assert!(retry.call_async(async || None::<u32>).await.is_none());
    began.elapsed()
}

// The only test in this binary that uses a paused clock with a registry on the system clock: the warning is logged once
// per process.
#[tokio::test(start_paused = true)]
async fn a_registry_on_the_system_clock_in_a_paused_runtime_warns_and_names_the_remedy() {
    let log = Log::default();
    let _here = tracing::subscriber::set_default(log.clone());
    assert!(retried_for_15_seconds(Clock::tokio()).await <= Duration::from_secs(15));
    assert_eq!(log.of(Level::WARN), [""; 0]);
    let took = retried_for_15_seconds(Clock::system()).await;
    // Ten delays of 9 s, each less the real time that passes while its timer is created.
    assert!(
        took >= Duration::from_mins(1),
        "the registry must use real time while virtual time passes: {took:?}"
    );
    let warned = log.of(Level::WARN);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("Registry::install(Clock::tokio())"), "{warned:?}");
}
