use std::io;
use std::pin::pin;
use std::task::Waker;

use proptest::prelude::*;

use std::pin::Pin;
use std::task::{Context, Poll};

use super::*;
use crate::clock::ManualClock;
use crate::component::Component;
use crate::registry::Registry;
use crate::rejection::{Rejection, RejectionKind};
use crate::timeout::Config;

const MS: fn(u64) -> Duration = Duration::from_millis;

type Outcome = Result<Option<Duration>, Rejection>;

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn ready<F: Future>(future: F) -> F::Output {
    match poll(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

#[test]
fn every_protected_call_has_the_remaining_time_on_every_clock() {
    let time = ManualClock::new();
    for clock in [time.clock(), Clock::system(), Clock::tokio()] {
        let registry = Registry::with_clock(clock);
        registry.timeout("t").reconfigure(Config::default().total(MS(500))).unwrap();
        let pipeline = registry.pipeline("p").timeout("t").build();
        let by_pipeline = pipeline.call(|| -> Outcome { Ok(remaining()) }).unwrap().unwrap();
        let later: Outcome = ready(pipeline.call_async(async || Ok(remaining())));
        let by_hand: Outcome = ready(registry.timeout("t").call_async(async || Ok(remaining())));
        for left in [by_pipeline, later.unwrap().unwrap(), by_hand.unwrap().unwrap()] {
            assert!(left <= MS(500) && left > MS(300), "{left:?}");
        }
        assert_eq!(remaining(), None, "outside");
    }
}

#[test]
fn the_earlier_deadline_applies_across_clocks_too() {
    // T66
    let (ours, theirs) = (ManualClock::new(), ManualClock::new());
    theirs.advance(Duration::from_hours(7));
    let timeout = Registry::with_clock(ours.clock()).timeout("t");
    for (own, around, left) in [(100, 500, 100), (500, 100, 100)] {
        timeout.reconfigure(Config::default().total(MS(own))).unwrap();
        let around = Deadline::after_on(&theirs.clock(), MS(around));
        let seen: Outcome = ready(around.scope_async(timeout.call_async(async || Ok(remaining()))));
        assert_eq!(seen.unwrap(), Some(MS(left)));
    }
    let short = Deadline::after_on(&ours.clock(), MS(5));
    let long = Deadline::after_on(&theirs.clock(), MS(50));
    assert_eq!(short.scope(|| long.scope(remaining)), Some(MS(5)));
    assert_eq!(long.scope(|| short.scope(remaining)), Some(MS(5)));
    assert_eq!(remaining(), None);
}

#[test]
fn a_dropped_clock_has_no_deadline() {
    let deadline = Deadline::after_on(&ManualClock::new().clock(), MS(5));
    assert_eq!(deadline.remaining(), MS(5), "it keeps its clock");
    let (at, clock) = (deadline.at, ManualClock::new().clock());
    let _entered = Scope::current().with_deadline(at, &clock).enter();
    drop(clock);
    assert_eq!(remaining(), None);
}

#[test]
fn a_deadline_can_be_passed_to_a_task() {
    let time = ManualClock::new();
    assert!(Deadline::current().is_none());
    let deadline = Deadline::after_on(&time.clock(), MS(20));
    let inherited = deadline.scope(|| Deadline::current().unwrap());
    time.advance(MS(15));
    let elsewhere = std::thread::spawn(move || ready(inherited.scope_async(async { remaining() })));
    assert_eq!(elsewhere.join().unwrap(), Some(MS(5)));
    time.advance(MS(15));
    assert!(deadline.is_over());
    assert_eq!(deadline.remaining(), Duration::ZERO);
}

#[test]
fn no_call_begins_when_no_time_is_left() {
    // T66
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let over = Deadline::after_on(&time.clock(), Duration::ZERO);
    let timeout = registry.timeout("t");
    let refused: Outcome =
        ready(over.clone().scope_async(timeout.call_async(async || unreachable!("nothing is left"))));
    let refused = refused.unwrap_err();
    assert_eq!((refused.kind(), refused.component()), (RejectionKind::QueueTimeout, "t"));
    assert_eq!(timeout.stats().queue_timeouts, 1);
    // A call without its own timeout.
    let pipeline = registry.pipeline("p").bulkhead("b").build();
    let refused = over.scope(|| pipeline.call(|| -> Outcome { unreachable!("nothing is left") }));
    assert_eq!(refused.unwrap_err().kind(), RejectionKind::QueueTimeout);
    assert_eq!((pipeline.stats().timed_out, registry.bulkhead("b").stats().in_use), (1, 0));
    let refused: Outcome = ready(over.scope_async(connect(async { unreachable!("nothing is left") })));
    assert_eq!(refused.unwrap_err().kind(), RejectionKind::TotalTimeout);
}

#[test]
fn each_phase_reports_its_own_timeout() {
    // T64
    let time = ManualClock::new();
    let timeout = Registry::with_clock(time.clock()).timeout("gateway");
    timeout.reconfigure(Config::default().connect(MS(30)).read(MS(70)).attempt(MS(90))).unwrap();
    let expected = [
        (RejectionKind::ConnectTimeout, 30, "`gateway` timed out while connecting after 30.0ms"),
        (RejectionKind::ReadTimeout, 70, "`gateway` timed out while reading after 70.0ms"),
        (RejectionKind::AttemptTimeout, 90, "an attempt of `gateway` timed out after 90.0ms"),
    ];
    for (phase, (kind, millis, text)) in expected.into_iter().enumerate() {
        let mut call = pin!(timeout.call_async(async || -> Outcome {
            match phase {
                0 => connect(std::future::pending()).await,
                1 => read(std::future::pending()).await,
                _ => std::future::pending().await,
            }
        }));
        assert!(poll(call.as_mut()).is_pending());
        time.advance(MS(millis - 1));
        assert!(poll(call.as_mut()).is_pending());
        time.advance(MS(1));
        let Poll::Ready(Err(rejection)) = poll(call.as_mut()) else { panic!("after {millis} ms") };
        assert_eq!((rejection.kind(), rejection.elapsed()), (kind, Some(MS(millis))));
        assert_eq!(rejection.to_string(), text);
    }
    let stats = timeout.stats();
    assert_eq!((stats.connect_timeouts, stats.read_timeouts, stats.attempt_timeouts), (1, 1, 1));
    assert_eq!(time.timers(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_read_timeout_is_not_the_end_of_a_stream() {
    let registry = Registry::with_clock(Clock::tokio());
    let gateway = registry.timeout("gateway");
    gateway.reconfigure(Config::default().read(MS(200))).unwrap();
    let (send, lines) = tokio::sync::mpsc::channel(4);
    send.send("half an answer").await.unwrap();
    let lines = tokio::sync::Mutex::new(lines);
    let read_all = async || -> Result<Vec<&str>, Rejection> {
        let (mut lines, mut all) = (lines.lock().await, Vec::new());
        while let Some(line) = read_timeout(lines.recv()).await? {
            all.push(line);
        }
        Ok(all)
    };
    let silent = gateway.call_async(read_all).await.unwrap_err();
    assert_eq!(silent.kind(), RejectionKind::ReadTimeout);
    assert_eq!(gateway.stats().read_timeouts, 1);
    send.send("the rest").await.unwrap();
    drop(send);
    assert_eq!(gateway.call_async(read_all).await, Ok(vec!["the rest"]));
    let pool = connect_timeout(std::future::pending::<u32>()).await;
    assert_eq!(pool.unwrap_err().kind(), RejectionKind::ConnectTimeout);
}

#[test]
fn a_phase_that_is_ready_with_its_timer_is_in_time() {
    // T65
    let time = ManualClock::new();
    let timeout = Registry::with_clock(time.clock()).timeout("t");
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let mut receiver = Some(receiver);
    let mut call = pin!(timeout.call_async(async || -> io::Result<u32> {
        let receiver = receiver.take().unwrap();
        read(async { Ok(receiver.await.unwrap()) }).await
    }));
    assert!(poll(call.as_mut()).is_pending());
    sender.send(7).unwrap();
    time.advance(Duration::from_secs(31));
    assert!(matches!(poll(call.as_mut()), Poll::Ready(Ok(7))));
}

#[test]
fn a_total_timeout_in_a_phase_is_counted_once_and_as_the_total() {
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    registry.timeout("t").reconfigure(Config::default().total(MS(50))).unwrap();
    let pipeline = registry.pipeline("p").timeout("t").build();
    let mut call = pin!(pipeline.call_async(async || -> Outcome { connect(std::future::pending()).await }));
    assert!(poll(call.as_mut()).is_pending());
    time.advance(MS(50));
    let Poll::Ready(Err(rejection)) = poll(call.as_mut()) else { panic!("out of time") };
    assert_eq!(rejection.kind(), RejectionKind::TotalTimeout);
    let stats = registry.timeout("t").stats();
    assert_eq!((stats.total_timeouts, stats.connect_timeouts, pipeline.stats().timed_out), (1, 0, 1));
}

#[test]
fn a_phase_ends_at_a_deadline_without_an_enclosing_timeout() {
    let time = ManualClock::new();
    let deadline = Deadline::after_on(&time.clock(), MS(20));
    let mut phase = pin!(deadline.scope_async(connect(std::future::pending::<Outcome>())));
    assert!(poll(phase.as_mut()).is_pending());
    time.advance(MS(20));
    assert!(poll(phase.as_mut()).is_pending(), "the outer call is polled first");
    let Poll::Ready(Err(rejection)) = poll(phase.as_mut()) else { panic!("out of time") };
    assert_eq!(rejection.to_string(), "`deadline` exceeded its total timeout after 20.0ms");
}

#[tokio::test(start_paused = true)]
async fn without_an_enclosing_call_the_default_limits_apply() {
    let start = tokio::time::Instant::now();
    let late: io::Result<()> = connect(std::future::pending()).await;
    assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
    // The system clock advances during the test, so the timer is slightly shorter.
    assert!((MS(2500)..=MS(3100)).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn limits_of_phases_can_be_changed_while_calls_run() {
    let time = ManualClock::new();
    let timeout = Registry::with_clock(time.clock()).timeout("t");
    timeout.reconfigure(Config::default().connect(None)).unwrap();
    let mut call = pin!(timeout.call_async(async || -> Outcome {
        let _: Outcome = read(std::future::pending()).await;
        connect(std::future::pending()).await
    }));
    assert!(poll(call.as_mut()).is_pending());
    timeout.reconfigure(Config::default().connect(MS(10))).unwrap();
    time.advance(Duration::from_secs(30));
    assert!(poll(call.as_mut()).is_pending(), "the read limit is 30 s");
    time.advance(MS(10));
    let Poll::Ready(Err(rejection)) = poll(call.as_mut()) else { panic!("connecting is limited now") };
    assert_eq!(rejection.kind(), RejectionKind::ConnectTimeout);
}

#[test]
fn a_phase_dropped_after_any_number_of_polls_leaves_no_timer() {
    // T146
    for polls in 0..6 {
        let time = ManualClock::new();
        let timeout = Registry::with_clock(time.clock()).timeout("t");
        let mut call = Box::pin(timeout.call_async(async || -> Outcome {
            let _: Outcome = connect(std::future::pending()).await;
            read(std::future::pending()).await
        }));
        for _ in 0..polls {
            let _ = poll(call.as_mut());
            time.advance(Duration::from_secs(2));
        }
        drop(call);
        assert_eq!(time.timers(), 0, "after {polls} polls");
        assert_eq!(remaining(), None);
    }
}

#[test]
fn a_dropped_timeout_frees_its_number() {
    let number = {
        let timeout = Registry::with_clock(ManualClock::new().clock()).timeout("t");
        assert!(crate::timeout::Phases::find(timeout.number()).is_some());
        timeout.number()
    };
    assert!(crate::timeout::Phases::find(number).is_none());
}

#[test]
fn an_invalid_header_is_rejected_with_the_expected_format() {
    let bad = [
        "",
        "m",
        "5",
        "-1m",
        "+1m",
        " 1m",
        "1m ",
        "1.5S",
        "123456789m",
        "1s",
        "1h",
        "1ms",
        "m1",
        "1µ",
        "\u{661}m",
        "0x1m",
        "1e3m",
        "\0m",
    ];
    for text in bad {
        let error = Header::GrpcTimeout.read(text).unwrap_err().to_string();
        assert!(error.starts_with("`grpc-timeout: ") && error.contains("is not a valid timeout"), "{error}");
    }
    for text in ["", "-1", "+1", "1.5", " 1", "1 ", "1ms", "NaN", "99999999999999", "\u{661}", "0x10"] {
        assert!(Header::ExpectedTimeout.read(text).is_err(), "{text:?}");
    }
    let long = "\u{7}".repeat(1 << 20);
    let error = Header::GrpcTimeout.read(&long).unwrap_err().to_string();
    assert!(error.len() < 300 && !error.contains('\u{7}'), "{error}");
}

#[test]
fn a_header_is_read_according_to_its_format() {
    let grpc = |text: &str| Header::GrpcTimeout.read(text).unwrap();
    for (text, span) in [
        ("2500m", MS(2500)),
        ("0n", Duration::ZERO),
        ("1H", Duration::from_hours(1)),
        ("3M", Duration::from_mins(3)),
        ("4S", Duration::from_secs(4)),
        ("5u", Duration::from_micros(5)),
        ("00000007n", Duration::from_nanos(7)),
        ("99999999H", Duration::from_hours(99_999_999)),
    ] {
        assert_eq!(grpc(text), span, "{text}");
    }
    assert_eq!(Header::ExpectedTimeout.read("1500"), Ok(MS(1500)));
    // Any duration is valid, even one later than every deadline.
    assert!(!Deadline::after(grpc("99999999H")).is_over());
}

#[test]
fn a_duration_that_rounds_to_zero_is_not_sent() {
    for header in [Header::GrpcTimeout, Header::ExpectedTimeout] {
        assert_eq!(header.write(Duration::ZERO), None, "{header}");
        assert!(header.write(Duration::MAX).is_some(), "{header}");
    }
    assert_eq!(Header::ExpectedTimeout.write(Duration::from_micros(999)), None);
    assert_eq!(Header::GrpcTimeout.write(Duration::from_micros(999)).unwrap(), "999000n");
    assert_eq!(Header::GrpcTimeout.write(Duration::MAX).unwrap(), "99999999H");
}

proptest! {
    #[test]
    fn a_written_duration_reads_as_slightly_less_and_never_more(seconds in 0_u64..1 << 40, nanos in 0_u32..1_000_000_000) {
        let span = Duration::new(seconds, nanos);
        if let Some(text) = Header::GrpcTimeout.write(span) {
            prop_assert!(text.len() <= 9);
            let read = Header::GrpcTimeout.read(&text).unwrap();
            prop_assert!(read <= span);
            // At least seven digits are exact, up to the maximum of eight digits of hours.
            let most = Duration::from_hours(99_999_999);
            prop_assert!(read >= span.min(most).mul_f64(0.999_99).saturating_sub(Duration::from_hours(1)));
        }
        if let Some(text) = Header::ExpectedTimeout.write(span) {
            let read = Header::ExpectedTimeout.read(&text).unwrap();
            prop_assert!(read <= span);
        }
    }

    #[test]
    fn no_text_makes_a_header_panic(text in ".{0,12}") {
        for header in [Header::GrpcTimeout, Header::ExpectedTimeout] {
            let _ = header.read(&text).map_err(|error| error.to_string());
        }
    }
}

// A caller with a short deadline must not open the circuit or lower the limit for all others.
#[test]
fn components_called_directly_do_not_count_calls_ended_by_an_outer_deadline() {
    use crate::{Class, Verdict, bulkhead, circuit_breaker, load_shed};

    /// Returns the failures that the circuit breaker counts, and by how much the limits of the bulkhead and the load shedder
    /// decrease, for calls that end late or in time.
    fn learned(is_late: bool) -> (u64, u32, u32) {
        let time = ManualClock::new();
        let registry = Registry::with_clock(time.clock());
        let breaker = registry.circuit_breaker("db");
        breaker.reconfigure(circuit_breaker::Config::default().failure_threshold(1000)).unwrap();
        let bulkhead = registry.bulkhead("db");
        bulkhead.reconfigure(bulkhead::Config::default().max_concurrent(64).adaptive(true)).unwrap();
        let shedder = registry.load_shedder("db");
        shedder.reconfigure(load_shed::Config::default().adaptive(true)).unwrap();
        let limits = || (bulkhead.stats().adaptive.unwrap().limit, shedder.stats().limit.unwrap());
        let before = limits();
        for _ in 0..1000 {
            let start = time.clock().now();
            let deadline = start.after(Duration::from_millis(if is_late { 10 } else { 1000 }));
            let scope = Scope::current().with_deadline(deadline, &time.clock()).enter();
            let (counted, permit) = (breaker.try_acquire().unwrap(), bulkhead.try_acquire().unwrap());
            let admitted = shedder.try_acquire().unwrap();
            time.advance(Duration::from_millis(20));
            counted.settle(Verdict::Failure(Class::UNCERTAIN));
            permit.settle(Verdict::Failure(Class::UNCERTAIN));
            admitted.settle(Verdict::Failure(Class::UNCERTAIN));
            drop(scope);
        }
        let (permits, in_flight) = limits();
        (breaker.stats().failed, before.0 - permits, before.1 - in_flight)
    }

    let (counted, permits, in_flight) = learned(false);
    assert!(
        counted > 0 && permits > 0 && in_flight > 0,
        "{counted} failures, {permits} and {in_flight} fewer"
    );
    assert_eq!(learned(true), (0, 0, 0));
}
