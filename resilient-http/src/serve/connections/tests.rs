//! Which connections get a slot, and which ones are closed for it.

use super::super::connection::Ending;
use super::*;

const HOUR: Duration = Duration::from_hours(1);
const A: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));
const B: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)));

fn all(most: usize, per_address: usize) -> Arc<Connections> {
    Arc::new(Connections::new(most, per_address))
}

impl Connections {
    async fn slot(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Slot> {
        match self.enter(address).await {
            Entry::Slot(slot) => Some(slot),
            Entry::Waits(_) | Entry::Refused => None,
        }
    }

    async fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Slot {
        self.slot(address).await.expect("a slot is free")
    }

    /// A slot of a client that has received a response.
    async fn take_idle(self: &Arc<Self>, address: Option<IpAddr>) -> Slot {
        let slot = self.take(address).await;
        drop(slot.connection().begin(false));
        slot
    }

    /// A slot of a client that sends nothing.
    async fn take_silent(self: &Arc<Self>, address: Option<IpAddr>) -> Slot {
        let slot = self.take(address).await;
        slot.connection().nothing_came();
        slot
    }

    /// Whether a new connection gets a slot although no connection is closed.
    async fn has_slot(self: &Arc<Self>, address: Option<IpAddr>) -> bool {
        tokio::time::timeout(SLOW * 3, self.slot(address)).await.is_ok_and(|slot| slot.is_some())
    }
}

fn must_end(slot: &Slot) -> bool {
    slot.connection().is_ending()
}

async fn sleep(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test(start_paused = true)]
async fn silent_connections_are_closed_before_idle_ones_and_the_longest_idle_first() {
    let all = all(4, 4);
    let (first, second) = (all.take_idle(A).await, all.take_idle(A).await);
    let silent = all.take_silent(A).await;
    let busy = all.take(A).await;
    let _busy = busy.connection().begin(false);
    sleep(5000).await;
    drop(first.connection().begin(false));
    sleep(100).await;
    let later = || async { all.take_silent(B).await };
    let mut waiting = std::pin::pin!(later());
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert!(must_end(&silent) && !must_end(&first) && !must_end(&second));
    assert_eq!(silent.connection().ending(), Ending::Now);
    drop(silent);
    // The new connection has a request in flight.
    let new = waiting.await;
    let _also = new.connection().begin(false);
    assert!(!all.has_slot(B).await);
    assert!(must_end(&second) && !must_end(&first), "the second one is idle for longer");
    drop(second);
    let newer = all.take(B).await;
    let _too = newer.connection().begin(false);
    assert!(!all.has_slot(B).await);
    assert!(must_end(&first) && !must_end(&busy) && !must_end(&new), "never one with a request in flight");
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_free_only_when_its_connection_is_closed() {
    let all = all(1, 1);
    let only = all.take_idle(A).await;
    let mut waiting = std::pin::pin!(all.slot(A));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    only.connection().asked_to_end().await;
    sleep(60_000).await;
    assert!(futures_util::poll!(waiting.as_mut()).is_pending(), "the connection is still open");
    drop(only);
    assert!(waiting.await.is_some());
    assert!(all.open().all.is_empty() && all.open().addresses.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_arrives_while_its_connection_is_asked_to_close_is_processed() {
    let all = all(1, 1);
    let only = all.take_idle(A).await;
    assert!(!all.has_slot(A).await);
    assert!(must_end(&only));
    only.connection().came(1);
    assert_eq!(only.connection().ending(), Ending::Not);
    let busy = only.connection().begin(false);
    assert!(!all.has_slot(A).await);
    assert!(!must_end(&only));
    // Not before the whole response is sent.
    only.connection().nothing_taken();
    drop(busy);
    let mut waiting = std::pin::pin!(all.slot(A));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert!(!must_end(&only));
    only.connection().taken(9, true);
    sleep(RETRY_INTERVAL.as_millis().try_into().unwrap()).await;
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert_eq!(only.connection().ending(), Ending::Now);
}

#[tokio::test(start_paused = true)]
async fn a_fast_start_earns_no_credit_for_later() {
    let all = all(3, 3);
    let slot = all.take(A).await;
    let (_busy, body) = (slot.connection().begin(false), slot.connection().begin_body());
    body.wait();
    body.add(33_000);
    let fast = all.take(A).await;
    let (_request, steady) = (fast.connection().begin(false), fast.connection().begin_body());
    let app = all.take(A).await;
    let (_too, unread) = (app.connection().begin(false), app.connection().begin_body());
    unread.wait();
    unread.add(1);
    body.wait();
    for _ in 0..30 {
        steady.wait();
        sleep(100).await;
        steady.add(110);
    }
    let mut waiting = std::pin::pin!(all.slot(A));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert!(must_end(&slot), "it sent 33 KB at once and then nothing for 3 s");
    assert!(!must_end(&fast), "it sends 1 KiB each second");
    assert!(!must_end(&app), "the application does not read more");
    assert_eq!(slot.connection().ending(), Ending::Cut);
    body.cut().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_response_is_slow_but_not_with_a_response_that_sends_nothing() {
    let all = all(2, 2);
    let (takes_nothing, long_poll) = (all.take(A).await, all.take(B).await);
    let busy = [&takes_nothing, &long_poll].map(|slot| slot.connection().begin(false));
    takes_nothing.connection().taken(1 << 20, false);
    takes_nothing.connection().nothing_taken();
    long_poll.connection().taken(100, true);
    sleep(900).await;
    let mut waiting = std::pin::pin!(all.slot(B));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert!(!must_end(&takes_nothing));
    sleep(200).await;
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert!(must_end(&takes_nothing) && !must_end(&long_poll));
    assert_eq!(takes_nothing.connection().ending(), Ending::Reset);
    drop((busy, takes_nothing));
    assert!(waiting.await.is_some());
}

#[tokio::test(start_paused = true)]
async fn over_http_2_a_client_that_stops_the_flow_is_slow_and_other_frames_are_no_request() {
    let all = all(3, 3);
    let (stalls, streams) = (all.take(A).await, all.take(A).await);
    let busy = [&stalls, &streams].map(|slot| [(); 2].map(|()| slot.connection().begin(true)));
    stalls.connection().give();
    stalls.connection().taken(9, true);
    streams.connection().give();
    streams.connection().given();
    let idle = all.take(B).await;
    drop(idle.connection().begin(true));
    idle.connection().came(9);
    idle.connection().nothing_came();
    sleep(1100).await;
    let mut waiting = std::pin::pin!(all.slot(B));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert!(must_end(&stalls) && !must_end(&streams) && !must_end(&idle));
    assert_eq!(stalls.connection().ending(), Ending::Reset);
    all.give_up(Duration::from_secs(1), HOUR);
    assert!(must_end(&idle) && !must_end(&streams), "the connection was idle for a second");
    assert_eq!(idle.connection().ending(), Ending::Now);
    drop(busy);
}

#[tokio::test(start_paused = true)]
async fn an_address_gets_at_most_its_share() {
    let all = all(16, 4);
    let slots = [all.take(A).await, all.take(A).await, all.take(A).await, all.take(A).await];
    let _busy = slots.each_ref().map(|slot| slot.connection().begin(false));
    assert!(all.slot(A).await.is_none(), "refused at once: all its requests are being processed");
    let other = all.take(B).await;
    // The share does not apply to a proxy.
    let proxied = [all.take(None).await, all.take(None).await, all.take(None).await, all.take(None).await];
    assert!(!must_end(&other) && !proxied.iter().any(must_end));
    // For a new connection of the address, only its own connections are closed.
    let body = slots[2].connection().begin_body();
    body.wait();
    sleep(30).await;
    let first = all.slot(A).await.expect("the slow connection is closing");
    assert_eq!(slots.each_ref().map(must_end), [false, false, true, false]);
    let request = first.connection().begin(false);
    assert!(matches!(all.enter(A).await, Entry::Refused));
    // The server waits for the client, but not long enough yet. Only connections of the same address wait for that.
    let body = first.connection().begin_body();
    body.wait();
    let Entry::Waits(waiting) = all.enter(A).await else { panic!("a connection might be closed soon") };
    let began = Instant::now();
    assert!(waiting.slot(A).await.is_some() && must_end(&first));
    assert!(began.elapsed() >= Patience::AT_SHARE.slow);
    drop(request);
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_waits_while_many_of_its_address_are_closing() {
    let (most, share) = (32, 16);
    let all = all(most, share);
    let mut slots = Vec::new();
    while slots.len() < share + most / BESIDE {
        let slot = all.take(A).await;
        let answer = slot.connection().begin(false);
        let body = slot.connection().begin_body();
        body.wait();
        sleep(30).await;
        slots.push((slot, answer, body));
    }
    assert_eq!(slots.iter().filter(|(slot, ..)| must_end(slot)).count(), most / BESIDE);
    assert!(matches!(all.enter(A).await, Entry::Waits(_)), "each closing connection frees a slot");
}

#[tokio::test(start_paused = true)]
async fn waiting_connections_use_only_spare_descriptors() {
    let all = all(32, 16);
    let mut lagging = Vec::new();
    for _ in 0..16 {
        let slot = all.take(A).await;
        let answer = slot.connection().begin(false);
        let body = slot.connection().begin_body();
        body.wait();
        lagging.push((slot, answer, body));
    }
    let mut waiting = Vec::new();
    let last = loop {
        match all.enter(A).await {
            Entry::Waits(one) => waiting.push(one),
            last => break last,
        }
    };
    assert!(matches!(last, Entry::Refused));
    assert_eq!(waiting.len() + lagging.len(), all.most_sockets());
    let first = waiting.swap_remove(0);
    let mut slot = Box::pin(first.slot(A));
    assert!(futures_util::poll!(slot.as_mut()).is_pending());
    let other = all.take(B).await;
    assert!(slot.await.is_none(), "another connection needs its descriptor");
    drop((other, first));
    // Descriptors are free again, so that a stale notification has no effect.
    all.crowded_out.notify_one();
    let next = waiting.swap_remove(0);
    let mut slot = Box::pin(next.slot(A));
    assert!(futures_util::poll!(slot.as_mut()).is_pending());
    drop(slot);
    drop((next, waiting));
    assert_eq!(all.open().sockets(), lagging.len());
}

const C: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3)));

#[tokio::test(start_paused = true)]
async fn addresses_that_take_their_full_share_leave_slots_for_others() {
    let all = all(90, 45);
    let mut slots = Vec::new();
    for _ in 0..90 {
        for address in [A, B] {
            if let Ok(slot) = all.try_slot(address) {
                slots.push((slot.connection().begin(false), slot));
            }
        }
    }
    assert_eq!(slots.len(), 60, "a third each");
    for _ in 0..SMALL_SHARE {
        let slot = all.try_slot(C).expect("the address has few connections");
        slots.push((slot.connection().begin(false), slot));
    }
    assert!(!slots.iter().any(|(_, slot)| must_end(slot)), "slots are free");
}

#[tokio::test(start_paused = true)]
async fn when_all_slots_are_in_use_the_slowest_of_the_address_with_the_most_are_closed() {
    let all = all(100, 99);
    let mut slots = Vec::new();
    // A took its share before B did.
    for address in [A; 50].into_iter().chain([B; 25]).chain([C; 16]).chain([None; 9]) {
        let slot = all.try_slot(address).expect("a slot is free");
        let (busy, body) = (slot.connection().begin(false), slot.connection().begin_body());
        body.wait();
        slots.push((slot, body, busy));
        sleep(1).await;
    }
    // Each sends just fast enough.
    for (_, body, _) in &slots {
        body.add(100);
        body.wait();
    }
    sleep(40).await;
    let next = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 4)));
    assert!(all.try_slot(next).is_err());
    let given_up = slots.iter().map(|(slot, ..)| must_end(slot));
    let given_up: Vec<_> =
        given_up.enumerate().filter_map(|(n, is_given_up)| is_given_up.then_some(n)).collect();
    assert!(given_up.len() == 7 && given_up.iter().all(|n| *n < 50), "{given_up:?}");
    slots.retain(|(slot, ..)| !must_end(slot));
    assert!(all.try_slot(next).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_does_not_extend_the_patience_with_a_lagging_request() {
    let all = all(100, 2);
    let (lags, _new) = (all.take(A).await, all.take(A).await);
    let (_busy, body) = (lags.connection().begin(false), lags.connection().begin_body());
    body.wait();
    sleep(30).await;
    assert!(all.slot(A).await.is_some());
    assert!(must_end(&lags));
}

#[tokio::test(start_paused = true)]
async fn many_slow_requests_of_an_address_are_closed_even_if_slots_are_free() {
    let all = all(1000, 500);
    let mut open = Vec::new();
    for address in [A; 40].into_iter().chain([B; 3]) {
        let slot = all.take(address).await;
        let (busy, body) = (slot.connection().begin(false), slot.connection().begin_body());
        body.wait();
        open.push((body, busy, slot));
        sleep(1).await;
    }
    let idle = [all.take_idle(A).await, all.take_silent(A).await];
    let given_up = || open.iter().map(|(_, _, slot)| must_end(slot)).collect::<Vec<_>>();
    all.give_up(HOUR, HOUR);
    assert!(!given_up().contains(&true));
    sleep(1000).await;
    all.give_up(HOUR, HOUR);
    let few = 500 / SLOW_REQUESTS;
    let expected: Vec<_> = (0..43).map(|n| n < 40 - few).collect();
    assert_eq!(given_up(), expected, "the ones that wait longest, and none of another address");
    assert!(!idle.iter().any(must_end));
}

#[tokio::test]
async fn shutdown_completes_when_all_connections_are_closed() {
    let all = all(9, 9);
    let (idle, busy) = (all.take_idle(A).await, all.take(A).await);
    let _busy = busy.connection().begin(false);
    all.close();
    idle.connection().asked_to_end().await;
    busy.connection().asked_to_end().await;
    assert_eq!([&idle, &busy].map(|slot| slot.connection().ending()), [Ending::Now, Ending::AfterAnswer]);
    let mut closed = std::pin::pin!(all.closed());
    assert!(futures_util::poll!(closed.as_mut()).is_pending());
    drop((idle, busy));
    assert!(futures_util::poll!(closed.as_mut()).is_ready());
}
