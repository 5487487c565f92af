//! Server-sent events: statistics once a second, and each event when it occurs. Also the task that evaluates alerts.
//!
//! Each second is serialized once for all viewers, as a snapshot and as the changes since the second before. A viewer
//! that is too slow skips seconds and gets a new snapshot. The clock ticks only while there is a viewer. Alerts are
//! evaluated even without a viewer.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::future::select;
use futures_util::stream::{self, Stream};
use http::{HeaderValue, StatusCode, header};
use resilient_runtime::Registry;
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::App;
use super::access::WithToken;
use crate::Problem;

/// Maximum number of viewers of `/stream` and `/events` together.
const VIEWERS: usize = 64;
/// Additional slots reserved for viewers with a valid token, so that viewers without one cannot lock them out.
const WITH_TOKEN: usize = 16;
pub(super) type HasToken = Option<Extension<WithToken>>;
const TICK: Duration = Duration::from_secs(1);
/// Interval of the comments that keep proxies from closing an idle connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The connected viewers and the background tasks.
#[derive(Debug)]
pub(super) struct Viewers {
    slots: Arc<Semaphore>,
    with_token: Arc<Semaphore>,
    /// The clock, while there is a viewer.
    ticks: Mutex<Weak<watch::Sender<Tick>>>,
    /// Dropping this ends the task that evaluates the alerts and probes the health checks.
    watch: Mutex<Option<oneshot::Sender<Infallible>>>,
}

/// The statistics of one second, as a snapshot and as changes.
#[derive(Clone, Debug, Default)]
struct Tick {
    number: u64,
    whole: Bytes,
    /// Changes since the tick before, as a JSON merge patch (RFC 7396).
    changes: Bytes,
}

impl Default for Viewers {
    fn default() -> Self {
        let slots = |count| Arc::new(Semaphore::new(count));
        Self {
            slots: slots(VIEWERS),
            with_token: slots(WITH_TOKEN),
            ticks: Mutex::new(Weak::new()),
            watch: Mutex::default(),
        }
    }
}

impl Viewers {
    pub(super) fn slot(&self, has_token: bool) -> Result<OwnedSemaphorePermit, Problem> {
        let acquire = |slots: &Arc<Semaphore>| Arc::clone(slots).try_acquire_owned();
        let found = acquire(&self.slots);
        let found = if has_token { found.or_else(|_| acquire(&self.with_token)) } else { found };
        found.map_err(|_| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("too many viewers: the limit is {VIEWERS}"))
                .after(Duration::from_secs(5))
        })
    }

    /// Starts the task that evaluates the alerts and probes the health checks, unless it already runs.
    ///
    /// Outside a Tokio runtime this does nothing; each request calls it again.
    pub(super) fn watch(&self, registry: &Registry) {
        let mut watched = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        // The channel is closed if the task ended with its runtime or panicked.
        if watched.as_ref().is_some_and(|task| !task.is_closed()) {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (alive, gone) = oneshot::channel::<Infallible>();
            let (alerts, health) = (registry.watch_alerts(), registry.watch_health());
            let both = select(Box::pin(alerts), Box::pin(health));
            runtime.spawn(async move { drop(select(both, gone).await) });
            *watched = Some(alive);
        }
    }

    /// Subscribes to the clock, and starts it if it does not run.
    fn ticks(&self, snapshot: impl FnMut() -> Value + Send + 'static) -> Ticks {
        let mut known = self.ticks.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = known.upgrade().unwrap_or_else(|| {
            let (sender, _) = watch::channel(Tick::default());
            let sender = Arc::new(sender);
            *known = Arc::downgrade(&sender);
            tokio::spawn(tick(snapshot, Arc::downgrade(&sender)));
            sender
        });
        Ticks { receiver: sender.subscribe(), _alive: sender, seen: 0 }
    }
}

/// Returns a closure that takes a snapshot of the statistics.
fn snapshots_of(registry: &Registry) -> impl FnMut() -> Value + Send + 'static + use<> {
    let registry = registry.clone();
    move || {
        registry.evaluate_alerts();
        json!(registry.stats())
    }
}

/// Takes a snapshot once a second until there is no viewer.
///
/// A second whose snapshot panics is skipped: viewers hold the sender, and would otherwise wait forever.
async fn tick(mut snapshot: impl FnMut() -> Value, sender: Weak<watch::Sender<Tick>>) {
    let mut before = Value::Null;
    let mut clock = tokio::time::interval(TICK);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for number in 1.. {
        clock.tick().await;
        let Some(sender) = sender.upgrade() else { return };
        let Ok(now) = catch_unwind(AssertUnwindSafe(&mut snapshot)) else {
            tracing::error!(target: "resilient_http::admin", "taking a snapshot of the statistics panicked; it is skipped");
            continue;
        };
        let changes = patch(&before, &now).unwrap_or_else(|| json!({}));
        let changes = framed("changes", number, &changes);
        sender.send_replace(Tick { number, whole: framed("whole", number, &now), changes });
        before = now;
    }
}

fn framed(event: &str, number: u64, data: &Value) -> Bytes {
    format!("event: {event}\nid: {number}\ndata: {data}\n\n").into()
}

/// The merge patch that turns `before` into `after`, or `None` if they are equal.
fn patch(before: &Value, after: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return (before != after).then(|| after.clone());
    };
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = new
        .iter()
        .filter_map(|(key, after)| Some((key.clone(), patch(old.get(key).unwrap_or(&Value::Null), after)?)));
    let patch: Map<String, Value> = gone.chain(changed).collect();
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// The subscription of one viewer to the clock.
struct Ticks {
    receiver: watch::Receiver<Tick>,
    /// The clock stops when the last of these is dropped.
    _alive: Arc<watch::Sender<Tick>>,
    seen: u64,
}

impl Ticks {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let tick = self.receiver.borrow_and_update().clone();
            if tick.number > self.seen {
                let follows = self.seen > 0 && tick.number == self.seen + 1;
                self.seen = tick.number;
                return Some(if follows { tick.changes } else { tick.whole });
            }
            self.receiver.changed().await.ok()?;
        }
    }
}

/// Middleware that makes sure that the alerts are evaluated.
pub(super) async fn watched(State(app): State<App>, request: Request, next: Next) -> Response {
    app.viewers.watch(&app.registry);
    next.run(request).await
}

pub(super) async fn ticks(State(app): State<App>, token: HasToken) -> Result<Response, Problem> {
    let slot = app.viewers.slot(token.is_some())?;
    let ticks = app.viewers.ticks(snapshots_of(&app.registry));
    Ok(served(stream::unfold((ticks, slot), async |(mut ticks, slot)| {
        let bytes = ticks.next().await?;
        Some((Ok::<_, Infallible>(bytes), (ticks, slot)))
    })))
}

pub(super) async fn events(State(app): State<App>, token: HasToken) -> Result<Response, Problem> {
    let slot = app.viewers.slot(token.is_some())?;
    let subscription = app.registry.subscribe();
    // Sent immediately: from this comment on, the client misses no event.
    let hello = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b": listening\n\n"))]);
    let events = stream::unfold((subscription, slot, 0), async |(mut subscription, slot, lost)| {
        let Ok(event) = tokio::time::timeout(KEEP_ALIVE, subscription.recv()).await else {
            return Some((Ok(Bytes::from_static(b":\n\n")), (subscription, slot, lost)));
        };
        let mut text = format!("data: {}\n\n", json!(event?));
        if subscription.dropped() > lost {
            text = format!("event: lost\ndata: {}\n\n{text}", subscription.dropped() - lost);
        }
        let lost = subscription.dropped();
        Some((Ok(Bytes::from(text)), (subscription, slot, lost)))
    });
    Ok(served(stream::StreamExt::chain(hello, events)))
}

fn served(stream: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Response {
    let mut response = Body::from_stream(stream).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Turns off response buffering in nginx.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_contains_changed_and_removed_members() {
        let before = json!({ "a": { "x": 1, "y": 2 }, "b": 3, "c": [1] });
        let after = json!({ "a": { "x": 1, "y": 4 }, "c": [1], "d": 5 });
        assert_eq!(patch(&before, &after).unwrap(), json!({ "a": { "y": 4 }, "b": null, "d": 5 }));
        assert_eq!(patch(&after, &after), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_viewer_skips_seconds_and_the_clock_stops_with_the_last_viewer() {
        let (viewers, registry) = (Viewers::default(), Registry::new());
        let (mut quick, mut slow) =
            (viewers.ticks(snapshots_of(&registry)), viewers.ticks(snapshots_of(&registry)));
        let text = |bytes: Option<Bytes>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        assert!(text(quick.next().await).starts_with("event: whole\nid: 1\n"));
        assert!(text(slow.next().await).starts_with("event: whole\nid: 1\n"));
        registry.bulkhead("payment");
        let second = text(quick.next().await);
        assert!(second.starts_with("event: changes\nid: 2\n") && second.contains("payment"), "{second}");
        assert!(text(quick.next().await).starts_with("event: changes\nid: 3\ndata: {}"));
        assert!(text(slow.next().await).starts_with("event: whole\nid: 3\n"));
        drop((quick, slow));
        tokio::time::sleep(TICK * 3).await;
        assert!(viewers.ticks.lock().unwrap().upgrade().is_none());
        assert!(
            text(viewers.ticks(snapshots_of(&registry)).next().await).starts_with("event: whole\nid: 1\n")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_whose_snapshot_panics_is_skipped() {
        let viewers = Viewers::default();
        let mut count = 0;
        let mut viewer = viewers.ticks(move || {
            count += 1;
            assert_ne!(count, 2);
            json!({ "count": count })
        });
        let mut next = async || {
            let seen = tokio::time::timeout(TICK * 5, viewer.next()).await;
            String::from_utf8(seen.expect("the clock stopped").unwrap().to_vec()).unwrap()
        };
        assert!(next().await.starts_with("event: whole\nid: 1\n"));
        assert_eq!(next().await, "event: whole\nid: 3\ndata: {\"count\":3}\n\n");
        assert_eq!(next().await, "event: changes\nid: 4\ndata: {\"count\":4}\n\n");
    }

    /// A registry with an alert that fires after it has been evaluated for two seconds.
    fn alerted() -> Registry {
        use resilient_runtime::{Component, alert, bulkhead, clock::Clock};
        let registry = Registry::with_clock(Clock::tokio());
        let gate = registry.bulkhead("gate");
        gate.reconfigure(bulkhead::Config::default().max_concurrent(1)).unwrap();
        // Keeps the bulkhead full.
        std::mem::forget(gate.try_acquire().unwrap());
        let full = alert::Config::default().signal(alert::Signal::Saturation).critical(0.9).min_samples(0);
        registry.alert("full").reconfigure(full.hold(TICK * 2)).unwrap();
        registry
    }

    fn fires(registry: &Registry) -> bool {
        registry.stats().alert["full"].severity.is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn alerts_are_evaluated_without_a_viewer_until_the_router_is_dropped() {
        let registry = alerted();
        let router = crate::Admin::new(&registry).router();
        tokio::time::sleep(TICK * 4).await;
        assert!(fires(&registry));
        drop(router);
        registry.reset(resilient_runtime::Kind::Alert, "full").unwrap();
        tokio::time::sleep(TICK * 4).await;
        assert!(!fires(&registry));
    }

    #[test]
    fn a_router_created_outside_a_runtime_evaluates_alerts_from_its_first_request_in_each_runtime() {
        use tower::ServiceExt;
        let registry = alerted();
        let router = crate::Admin::new(&registry).token("0123456789abcdef").unwrap().router();
        for _ in 0..2 {
            registry.reset(resilient_runtime::Kind::Alert, "full").unwrap();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            runtime.unwrap().block_on(async {
                let request =
                    Request::get("/api/resilience/sites").header("authorization", "Bearer 0123456789abcdef");
                let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
                assert_eq!(response.status(), 200);
                tokio::time::sleep(TICK * 4).await;
            });
            assert!(fires(&registry));
        }
    }

    #[test]
    fn the_number_of_viewers_is_limited() {
        let viewers = Viewers::default();
        let slots: Vec<_> = (0..VIEWERS).map(|_| viewers.slot(false).unwrap()).collect();
        assert_eq!(viewers.slot(false).unwrap_err().status(), 503);
        let more: Vec<_> = (0..WITH_TOKEN).map(|_| viewers.slot(true).unwrap()).collect();
        assert_eq!(viewers.slot(true).unwrap_err().status(), 503);
        drop((slots, more));
        assert!(viewers.slot(false).is_ok());
    }
}
