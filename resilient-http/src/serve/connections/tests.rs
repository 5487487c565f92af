//! Who gets a place, and who gives one up.

use super::super::connection::Ending;
use super::*;

const HOUR: Duration = Duration::from_hours(1);
const A: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));
const B: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)));

fn all(most: usize, per_address: usize) -> Arc<Connections> {
    Arc::new(Connections::new(most, per_address))
}

impl Connections {
    async fn place(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        match self.enter(address).await {
            Entry::Place(place) => Some(place),
            Entry::Waits(_) | Entry::Refused => None,
        }
    }

    async fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Place {
        self.place(address).await.expect("there is a place")
    }

    /// That of a client that has had an answer.
    async fn take_idle(self: &Arc<Self>, address: Option<IpAddr>) -> Place {
        let place = self.take(address).await;
        drop(place.connection().begin(false));
        place
    }

    /// That of a client that sends nothing.
    async fn take_silent(self: &Arc<Self>, address: Option<IpAddr>) -> Place {
        let place = self.take(address).await;
        place.connection().nothing_came();
        place
    }

    /// Whether somebody gets a place, without anybody closing.
    async fn has_place(self: &Arc<Self>, address: Option<IpAddr>) -> bool {
        tokio::time::timeout(SLOW * 3, self.place(address)).await.is_ok_and(|place| place.is_some())
    }
}

fn must_end(place: &Place) -> bool {
    place.connection().is_ending()
}

async fn sleep(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

// G6
#[tokio::test(start_paused = true)]
async fn silent_connections_go_before_idle_ones_and_idle_ones_by_how_long_they_are_idle() {
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
    // The new one has sent something, and is being answered.
    let new = waiting.await;
    let _also = new.connection().begin(false);
    assert!(!all.has_place(B).await);
    assert!(must_end(&second) && !must_end(&first), "the second is idle for longer");
    drop(second);
    let newer = all.take(B).await;
    let _too = newer.connection().begin(false);
    assert!(!all.has_place(B).await);
    assert!(must_end(&first) && !must_end(&busy) && !must_end(&new), "never one that is being answered");
}

// G5
#[tokio::test(start_paused = true)]
async fn a_place_is_free_when_its_connection_is_closed_and_not_before() {
    let all = all(1, 1);
    let only = all.take_idle(A).await;
    let mut waiting = std::pin::pin!(all.place(A));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    only.connection().asked_to_end().await;
    sleep(60_000).await;
    assert!(futures_util::poll!(waiting.as_mut()).is_pending(), "it is still open");
    drop(only);
    assert!(waiting.await.is_some());
    assert!(all.open().all.is_empty() && all.open().addresses.is_empty());
}

// G6
#[tokio::test(start_paused = true)]
async fn a_request_that_comes_while_its_connection_is_asked_to_close_is_answered() {
    let all = all(1, 1);
    let only = all.take_idle(A).await;
    assert!(!all.has_place(A).await);
    assert!(must_end(&only));
    only.connection().came(1);
    assert_eq!(only.connection().ending(), Ending::Not);
    let busy = only.connection().begin(false);
    assert!(!all.has_place(A).await);
    assert!(!must_end(&only));
    // Not before all is sent.
    only.connection().nothing_taken();
    drop(busy);
    let mut waiting = std::pin::pin!(all.place(A));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert!(!must_end(&only));
    only.connection().taken(9, true);
    sleep(LOOK_AGAIN.as_millis().try_into().unwrap()).await;
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert_eq!(only.connection().ending(), Ending::Now);
}

// G1
#[tokio::test(start_paused = true)]
async fn a_fast_start_is_no_credit_for_later() {
    let all = all(3, 3);
    let place = all.take(A).await;
    let (_busy, body) = (place.connection().begin(false), place.connection().begin_body());
    body.wait();
    body.add(33_000);
    let fast = all.take(A).await;
    let (_answers, steady) = (fast.connection().begin(false), fast.connection().begin_body());
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
    let mut waiting = std::pin::pin!(all.place(A));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert!(must_end(&place), "it sent 33 KB, and nothing for 3 s");
    assert!(!must_end(&fast), "1 KiB in each second");
    assert!(!must_end(&app), "the application does not ask for more");
    assert_eq!(place.connection().ending(), Ending::Cut);
    body.cut().await;
}

// G1
#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_its_answer_is_slow_and_a_silent_answer_is_not() {
    let all = all(2, 2);
    let (takes_nothing, long_poll) = (all.take(A).await, all.take(B).await);
    let busy = [&takes_nothing, &long_poll].map(|place| place.connection().begin(false));
    takes_nothing.connection().taken(1 << 20, false);
    takes_nothing.connection().nothing_taken();
    long_poll.connection().taken(100, true);
    sleep(900).await;
    let mut waiting = std::pin::pin!(all.place(B));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert!(!must_end(&takes_nothing));
    sleep(200).await;
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert!(must_end(&takes_nothing) && !must_end(&long_poll));
    assert_eq!(takes_nothing.connection().ending(), Ending::Reset);
    drop((busy, takes_nothing));
    assert!(waiting.await.is_some());
}

// G1
#[tokio::test(start_paused = true)]
async fn over_http_2_a_client_that_lets_nothing_be_sent_is_slow_and_what_is_no_request_is_none() {
    let all = all(3, 3);
    let (stalls, streams) = (all.take(A).await, all.take(A).await);
    let busy = [&stalls, &streams].map(|place| [(); 2].map(|()| place.connection().begin(true)));
    stalls.connection().give();
    stalls.connection().taken(9, true);
    streams.connection().give();
    streams.connection().given();
    let idle = all.take(B).await;
    drop(idle.connection().begin(true));
    idle.connection().came(9);
    idle.connection().nothing_came();
    sleep(1100).await;
    let mut waiting = std::pin::pin!(all.place(B));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert!(must_end(&stalls) && !must_end(&streams) && !must_end(&idle));
    assert_eq!(stalls.connection().ending(), Ending::Reset);
    all.give_up(Duration::from_secs(1), HOUR);
    assert!(must_end(&idle) && !must_end(&streams), "it is idle for a second");
    assert_eq!(idle.connection().ending(), Ending::Now);
    drop(busy);
}

// G1
#[tokio::test(start_paused = true)]
async fn an_address_has_its_share_and_others_have_the_rest() {
    let all = all(16, 4);
    let places = [all.take(A).await, all.take(A).await, all.take(A).await, all.take(A).await];
    let _busy = places.each_ref().map(|place| place.connection().begin(false));
    assert!(all.place(A).await.is_none(), "refused at once: all of its own are being answered");
    let other = all.take(B).await;
    // A proxy has no share.
    let proxied = [all.take(None).await, all.take(None).await, all.take(None).await, all.take(None).await];
    assert!(!must_end(&other) && !proxied.iter().any(must_end));
    // Only its own make room for its own.
    let body = places[2].connection().begin_body();
    body.wait();
    sleep(30).await;
    let first = all.place(A).await.expect("the other one is closing");
    assert_eq!(places.each_ref().map(must_end), [false, false, true, false]);
    let answers = first.connection().begin(false);
    assert!(matches!(all.enter(A).await, Entry::Refused));
    // Its client is waited for, but not long enough yet: only its own wait for that.
    let body = first.connection().begin_body();
    body.wait();
    let Entry::Waits(waiting) = all.enter(A).await else { panic!("it may be closed soon") };
    let began = Instant::now();
    assert!(waiting.place(A).await.is_some() && must_end(&first));
    assert!(began.elapsed() >= Patience::AT_SHARE.slow);
    drop(answers);
}

// G1
#[tokio::test(start_paused = true)]
async fn while_many_of_an_address_are_closing_a_new_one_waits() {
    let (most, share) = (32, 16);
    let all = all(most, share);
    let mut places = Vec::new();
    while places.len() < share + most / BESIDE {
        let place = all.take(A).await;
        let answer = place.connection().begin(false);
        let body = place.connection().begin_body();
        body.wait();
        sleep(30).await;
        places.push((place, answer, body));
    }
    assert_eq!(places.iter().filter(|(place, ..)| must_end(place)).count(), most / BESIDE);
    assert!(matches!(all.enter(A).await, Entry::Waits(_)), "each that closes makes room");
}

// G1
#[tokio::test(start_paused = true)]
async fn those_that_wait_take_descriptors_that_nobody_else_needs() {
    let all = all(32, 16);
    let mut lagging = Vec::new();
    for _ in 0..16 {
        let place = all.take(A).await;
        let answer = place.connection().begin(false);
        let body = place.connection().begin_body();
        body.wait();
        lagging.push((place, answer, body));
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
    let mut place = Box::pin(first.place(A));
    assert!(futures_util::poll!(place.as_mut()).is_pending());
    let other = all.take(B).await;
    assert!(place.await.is_none(), "its descriptor is needed");
    drop((other, first));
    // There is room again: an old notification is for nobody.
    all.crowded_out.notify_one();
    let next = waiting.swap_remove(0);
    let mut place = Box::pin(next.place(A));
    assert!(futures_util::poll!(place.as_mut()).is_pending());
    drop(place);
    drop((next, waiting));
    assert_eq!(all.open().sockets(), lagging.len());
}

const C: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3)));

// G1
#[tokio::test(start_paused = true)]
async fn addresses_that_each_take_their_share_leave_one_for_others() {
    let all = all(90, 45);
    let mut places = Vec::new();
    for _ in 0..90 {
        for address in [A, B] {
            if let Ok(place) = all.try_place(address) {
                places.push((place.connection().begin(false), place));
            }
        }
    }
    assert_eq!(places.len(), 60, "a third each");
    for _ in 0..SMALL_SHARE {
        let place = all.try_place(C).expect("it has few");
        places.push((place.connection().begin(false), place));
    }
    assert!(!places.iter().any(|(_, place)| must_end(place)), "there is room");
}

// G1
#[tokio::test(start_paused = true)]
async fn while_all_places_are_in_use_the_address_with_the_most_gives_up_its_slowest() {
    let all = all(100, 99);
    let mut places = Vec::new();
    // A took its share before B did.
    for address in [A; 50].into_iter().chain([B; 25]).chain([C; 16]).chain([None; 9]) {
        let place = all.try_place(address).expect("there is room");
        let (busy, body) = (place.connection().begin(false), place.connection().begin_body());
        body.wait();
        places.push((place, body, busy));
        sleep(1).await;
    }
    // They send as fast as they must, each in its turn.
    for (_, body, _) in &places {
        body.add(100);
        body.wait();
    }
    sleep(40).await;
    let next = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 4)));
    assert!(all.try_place(next).is_err());
    let given_up = places.iter().map(|(place, ..)| must_end(place));
    let given_up: Vec<_> =
        given_up.enumerate().filter_map(|(n, is_given_up)| is_given_up.then_some(n)).collect();
    assert!(given_up.len() == 7 && given_up.iter().all(|n| *n < 50), "{given_up:?}");
    places.retain(|(place, ..)| !must_end(place));
    assert!(all.try_place(next).is_ok());
}

// G1
#[tokio::test(start_paused = true)]
async fn a_new_connection_is_no_reason_to_wait_longer_for_a_request_that_lags() {
    let all = all(100, 2);
    let (lags, _new) = (all.take(A).await, all.take(A).await);
    let (_busy, body) = (lags.connection().begin(false), lags.connection().begin_body());
    body.wait();
    sleep(30).await;
    assert!(all.place(A).await.is_some());
    assert!(must_end(&lags));
}

// G1
#[tokio::test(start_paused = true)]
async fn many_slow_requests_of_an_address_are_given_up_while_there_is_room() {
    let all = all(1000, 500);
    let mut slow = Vec::new();
    for address in [A; 40].into_iter().chain([B; 3]) {
        let place = all.take(address).await;
        let (busy, body) = (place.connection().begin(false), place.connection().begin_body());
        body.wait();
        slow.push((body, busy, place));
        sleep(1).await;
    }
    let idle = [all.take_idle(A).await, all.take_silent(A).await];
    let given_up = || slow.iter().map(|(_, _, place)| must_end(place)).collect::<Vec<_>>();
    all.give_up(HOUR, HOUR);
    assert!(!given_up().contains(&true));
    sleep(1000).await;
    all.give_up(HOUR, HOUR);
    let few = 500 / SLOW_REQUESTS;
    let expected: Vec<_> = (0..43).map(|n| n < 40 - few).collect();
    assert_eq!(given_up(), expected, "those that wait for longest, and none of another address");
    assert!(!idle.iter().any(must_end));
}

#[tokio::test]
async fn the_end_is_when_all_are_closed() {
    let all = all(9, 9);
    let (idle, busy) = (all.take_idle(A).await, all.take(A).await);
    let _busy = busy.connection().begin(false);
    all.close();
    idle.connection().asked_to_end().await;
    busy.connection().asked_to_end().await;
    assert_eq!([&idle, &busy].map(|place| place.connection().ending()), [Ending::Now, Ending::AfterAnswer]);
    let mut closed = std::pin::pin!(all.closed());
    assert!(futures_util::poll!(closed.as_mut()).is_pending());
    drop((idle, busy));
    assert!(futures_util::poll!(closed.as_mut()).is_ready());
}
