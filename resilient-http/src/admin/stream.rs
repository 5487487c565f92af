//! What goes on while somebody looks: everything once a second, and each event as it happens. And what goes on while nobody
//! does: the alerts.
//!
//! All viewers of a second share one serialisation of it, and of what changed since the one before. Who is too slow for
//! that skips seconds and gets the whole again. The clock ticks only while somebody looks.

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

/// Viewers at once, of the dashboard and of the events together.
const VIEWERS: usize = 64;
/// Further ones, who have shown the token: whoever may look without cannot keep them out.
const WITH_TOKEN: usize = 16;
type HasToken = Option<Extension<WithToken>>;
const TICK: Duration = Duration::from_secs(1);
/// A comment that keeps what is between awake.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Who looks.
#[derive(Debug)]
pub(super) struct Viewers {
    places: Arc<Semaphore>,
    with_token: Arc<Semaphore>,
    /// The ticks, as long as somebody looks at them.
    ticks: Mutex<Weak<watch::Sender<Tick>>>,
    /// The task that evaluates the alerts and probes the health checks ends with this.
    watch: Mutex<Option<oneshot::Sender<Infallible>>>,
}

/// One second, in both forms.
#[derive(Clone, Debug, Default)]
struct Tick {
    number: u64,
    whole: Bytes,
    /// What changed since the one before: a JSON merge patch (RFC 7396).
    changes: Bytes,
}

impl Default for Viewers {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            places: places(VIEWERS),
            with_token: places(WITH_TOKEN),
            ticks: Mutex::new(Weak::new()),
            watch: Mutex::default(),
        }
    }
}

impl Viewers {
    fn place(&self, has_token: bool) -> Result<OwnedSemaphorePermit, Problem> {
        let place = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned();
        let found = place(&self.places);
        let found = if has_token { found.or_else(|_| place(&self.with_token)) } else { found };
        found.map_err(|_| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("{VIEWERS} look already"))
                .after(Duration::from_secs(5))
        })
    }

    /// Starts the task that evaluates the alerts and probes the health checks, unless it runs already. Outside of a runtime
    /// it starts with the first request.
    pub(super) fn watch(&self, registry: &Registry) {
        let mut watched = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        // Closed where the task is gone: with its runtime, or by a panic.
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

    /// The running ticks, or new ones.
    fn ticks(&self, look: impl FnMut() -> Value + Send + 'static) -> Ticks {
        let mut known = self.ticks.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = known.upgrade().unwrap_or_else(|| {
            let (sender, _) = watch::channel(Tick::default());
            let sender = Arc::new(sender);
            *known = Arc::downgrade(&sender);
            tokio::spawn(tick(look, Arc::downgrade(&sender)));
            sender
        });
        Ticks { receiver: sender.subscribe(), _alive: sender, seen: 0 }
    }
}

/// How things are.
fn look_at(registry: &Registry) -> impl FnMut() -> Value + Send + 'static + use<> {
    let registry = registry.clone();
    move || {
        registry.evaluate_alerts();
        json!(registry.stats())
    }
}

/// Looks once a second, until nobody wants to know. A second that panics is left out: viewers keep the clock, and would
/// wait for it for ever.
async fn tick(mut look: impl FnMut() -> Value, sender: Weak<watch::Sender<Tick>>) {
    let mut before = Value::Null;
    let mut clock = tokio::time::interval(TICK);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for number in 1.. {
        clock.tick().await;
        let Some(sender) = sender.upgrade() else { return };
        let Ok(now) = catch_unwind(AssertUnwindSafe(&mut look)) else {
            tracing::error!(target: "resilient_http::admin", "a look at the statistics panicked");
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

/// What makes `before` into `after`; `None` where nothing does.
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

/// The seconds that one viewer sees.
struct Ticks {
    receiver: watch::Receiver<Tick>,
    /// With the last of these the clock stops.
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

/// Whoever asks finds the alerts watched.
pub(super) async fn watched(State(app): State<App>, request: Request, next: Next) -> Response {
    app.viewers.watch(&app.registry);
    next.run(request).await
}

pub(super) async fn ticks(State(app): State<App>, token: HasToken) -> Result<Response, Problem> {
    let place = app.viewers.place(token.is_some())?;
    let ticks = app.viewers.ticks(look_at(&app.registry));
    Ok(served(stream::unfold((ticks, place), async |(mut ticks, place)| {
        let bytes = ticks.next().await?;
        Some((Ok::<_, Infallible>(bytes), (ticks, place)))
    })))
}

pub(super) async fn events(State(app): State<App>, token: HasToken) -> Result<Response, Problem> {
    let place = app.viewers.place(token.is_some())?;
    let subscription = app.registry.subscribe();
    // At once, so that the other side knows that nothing is missed from here on.
    let hello = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b": listening\n\n"))]);
    let told = stream::unfold((subscription, place, 0), async |(mut subscription, place, lost)| {
        let Ok(event) = tokio::time::timeout(KEEP_ALIVE, subscription.recv()).await else {
            return Some((Ok(Bytes::from_static(b":\n\n")), (subscription, place, lost)));
        };
        let mut text = format!("data: {}\n\n", json!(event?));
        if subscription.dropped() > lost {
            text = format!("event: lost\ndata: {}\n\n{text}", subscription.dropped() - lost);
        }
        let lost = subscription.dropped();
        Some((Ok(Bytes::from(text)), (subscription, place, lost)))
    });
    Ok(served(stream::StreamExt::chain(hello, told)))
}

fn served(stream: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Response {
    let mut response = Body::from_stream(stream).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // nginx would hold it back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_holds_what_changed_and_what_went() {
        let before = json!({ "a": { "x": 1, "y": 2 }, "b": 3, "c": [1] });
        let after = json!({ "a": { "x": 1, "y": 4 }, "c": [1], "d": 5 });
        assert_eq!(patch(&before, &after).unwrap(), json!({ "a": { "y": 4 }, "b": null, "d": 5 }));
        assert_eq!(patch(&after, &after), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_viewer_skips_seconds_and_the_clock_stops_with_the_last() {
        let (viewers, registry) = (Viewers::default(), Registry::new());
        let (mut quick, mut slow) = (viewers.ticks(look_at(&registry)), viewers.ticks(look_at(&registry)));
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
        assert!(text(viewers.ticks(look_at(&registry)).next().await).starts_with("event: whole\nid: 1\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_that_panics_is_left_out_and_the_clock_goes_on() {
        let viewers = Viewers::default();
        let mut looks = 0;
        let mut viewer = viewers.ticks(move || {
            looks += 1;
            assert_ne!(looks, 2);
            json!({ "looks": looks })
        });
        let mut next = async || {
            let seen = tokio::time::timeout(TICK * 5, viewer.next()).await;
            String::from_utf8(seen.expect("a clock").unwrap().to_vec()).unwrap()
        };
        assert!(next().await.starts_with("event: whole\nid: 1\n"));
        assert_eq!(next().await, "event: whole\nid: 3\ndata: {\"looks\":3}\n\n");
        assert_eq!(next().await, "event: changes\nid: 4\ndata: {\"looks\":4}\n\n");
    }

    /// An alert that fires when it has been looked at for two seconds.
    fn alerted() -> Registry {
        use resilient_runtime::{Component, alert, bulkhead, clock::Clock};
        let registry = Registry::with_clock(Clock::tokio());
        let gate = registry.bulkhead("gate");
        gate.reconfigure(bulkhead::Config::default().max_concurrent(1)).unwrap();
        // For ever.
        std::mem::forget(gate.try_acquire().unwrap());
        let full = alert::Config::default().signal(alert::Signal::Saturation).critical(0.9).min_samples(0);
        registry.alert("full").reconfigure(full.hold(TICK * 2)).unwrap();
        registry
    }

    fn fires(registry: &Registry) -> bool {
        registry.stats().alert["full"].severity.is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn alerts_are_looked_at_without_anybody_who_looks_until_the_router_is_gone() {
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
    fn a_router_made_outside_of_a_runtime_looks_at_the_alerts_from_its_first_request_on_in_each_runtime() {
        use tower::ServiceExt;
        let registry = alerted();
        let router = crate::Admin::new(&registry).token("0123456789abcdef").unwrap().router();
        for _ in 0..2 {
            registry.reset(resilient_runtime::Kind::Alert, "full").unwrap();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            runtime.unwrap().block_on(async {
                let asked =
                    Request::get("/api/resilience/sites").header("authorization", "Bearer 0123456789abcdef");
                let answer = router.clone().oneshot(asked.body(Body::empty()).unwrap()).await.unwrap();
                assert_eq!(answer.status(), 200);
                tokio::time::sleep(TICK * 4).await;
            });
            assert!(fires(&registry));
        }
    }

    #[test]
    fn there_are_so_many_places() {
        let viewers = Viewers::default();
        let places: Vec<_> = (0..VIEWERS).map(|_| viewers.place(false).unwrap()).collect();
        assert_eq!(viewers.place(false).unwrap_err().status(), 503);
        let more: Vec<_> = (0..WITH_TOKEN).map(|_| viewers.place(true).unwrap()).collect();
        assert_eq!(viewers.place(true).unwrap_err().status(), 503);
        drop((places, more));
        assert!(viewers.place(false).is_ok());
    }
}
