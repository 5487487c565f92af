//! The TCP fault proxy on real sockets.
//!
//! Delays have exact lower bounds and generous upper ones, because a test must not depend on the speed of the machine.

mod support;

use std::time::{Duration, Instant};

use resilient_chaos::proxy::{Effect, Proxy, ProxyError, Toxic, TransferRate};
use support::{LATE, Server, connect, echo_through, eventually, eventually_with, ms};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn data_passes_unchanged_in_both_directions() {
    let (proxy, server) = echo_through().await;
    let mut client = connect(&proxy).await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut reader, mut writer) = client.split();
    let mut received = vec![0; sent.len()];
    let (write, read) = tokio::join!(writer.write_all(&sent), reader.read_exact(&mut received));
    write.unwrap();
    read.unwrap();
    assert_eq!(received, sent);
    assert_eq!(proxy.stats().affected, 0);
    drop(server);
}

#[tokio::test]
async fn a_half_close_is_passed_on() {
    // The server answers only after the end of the request.
    let server = Server::new(async |mut stream| {
        let mut request = Vec::new();
        stream.read_to_end(&mut request).await.unwrap();
        request.reverse();
        stream.write_all(&request).await.unwrap();
    })
    .await;
    for toxics in [vec![], vec![Toxic::latency(ms(5)), Toxic::latency(ms(5)).upstream()]] {
        let proxy = server.proxy().await;
        let _toxics: Vec<_> = toxics.into_iter().map(|toxic| proxy.add(toxic).unwrap()).collect();
        let mut client = connect(&proxy).await;
        client.write_all(b"abc").await.unwrap();
        client.shutdown().await.unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).await.unwrap();
        assert_eq!(response, "cba");
        eventually("the connection ends", || proxy.stats().open == 0).await;
    }
}

#[tokio::test]
async fn latency_delays_a_response() {
    let (proxy, _server) = echo_through().await;
    let mut client = connect(&proxy).await;
    let _slow = proxy.add(Toxic::latency(ms(100))).unwrap();
    let _slow_too = proxy.add(Toxic::latency(ms(50)).upstream()).unwrap();
    let time = round_trip(&mut client).await;
    assert!((ms(150)..LATE).contains(&time), "{time:?}");
    assert_eq!(proxy.stats().affected, 2);
}

async fn round_trip(client: &mut TcpStream) -> Duration {
    let start = Instant::now();
    client.write_all(b"ping").await.unwrap();
    client.read_exact(&mut [0; 4]).await.unwrap();
    start.elapsed()
}

#[tokio::test]
async fn latency_does_not_limit_the_rate_of_small_messages() {
    let (proxy, _server) = echo_through().await;
    let _slow = proxy.add(Toxic::latency(ms(200))).unwrap();
    let mut client = connect(&proxy).await;
    let (mut reader, mut writer) = client.split();
    let start = Instant::now();
    let write = async {
        for _ in 0..100 {
            writer.write_all(b"ping").await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let mut received = [0; 400];
    let ((), read) = tokio::join!(write, reader.read_exact(&mut received));
    read.unwrap();
    // One after the other would take 20 s.
    assert!((ms(200)..LATE).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn jitter_varies_the_delay() {
    let (proxy, _server) = echo_through().await;
    let _slow = proxy.add(Toxic::latency_with_jitter(ms(30), ms(29))).unwrap();
    let mut client = connect(&proxy).await;
    let mut times = Vec::new();
    for _ in 0..20 {
        times.push(round_trip(&mut client).await);
    }
    assert!(times.iter().all(|time| (ms(1)..LATE).contains(time)), "{times:?}");
    let total: Duration = times.iter().sum();
    // The sum of 20 uniform delays from 1 to 59 ms is below 250 ms with a probability of about 1e-6.
    assert!(total > ms(250), "{total:?}");
}

#[tokio::test]
async fn bandwidth_limits_the_rate_and_slows_the_sender() {
    let server = Server::new(async |mut stream| {
        // More than the buffers of all sockets hold.
        let _ = stream.write_all(&vec![0; 64 << 20]).await;
    })
    .await;
    let proxy = server.proxy().await;
    let limit = proxy.add(Toxic::bandwidth(TransferRate::kilobytes(500))).unwrap();
    let mut client = connect(&proxy).await;
    let start = Instant::now();
    let mut received = vec![0; 200_000];
    client.read_exact(&mut received).await.unwrap();
    let time = start.elapsed();
    assert!((ms(400)..LATE).contains(&time), "{time:?} for 200 kB at 500 kB/s");
    // Without the limit, the rest takes no 130 s.
    drop(limit);
    let rest = tokio::io::copy(&mut client, &mut tokio::io::sink()).await.unwrap();
    assert_eq!(rest, (64 << 20) - 200_000);
}

#[tokio::test]
async fn bandwidth_zero_stops_the_data_without_loss() {
    let (proxy, _server) = echo_through().await;
    let mut client = connect(&proxy).await;
    let stop = proxy.add(Toxic::bandwidth(TransferRate::bytes(0))).unwrap();
    client.write_all(b"ping").await.unwrap();
    let mut received = [0; 4];
    let early = tokio::time::timeout(ms(100), client.read_exact(&mut received)).await;
    assert!(early.is_err(), "nothing arrives");
    stop.update(Effect::Bandwidth { rate: TransferRate::kilobytes(1) }).unwrap();
    client.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"ping");
}

#[tokio::test]
async fn slow_close_delays_only_the_close() {
    let server = Server::new(async |mut stream| stream.write_all(b"bye").await.unwrap()).await;
    let proxy = server.proxy().await;
    let _slow = proxy.add(Toxic::slow_close(ms(200))).unwrap();
    let mut client = connect(&proxy).await;
    let start = Instant::now();
    let mut received = [0; 3];
    client.read_exact(&mut received).await.unwrap();
    let data = start.elapsed();
    assert_eq!(client.read(&mut received).await.unwrap(), 0);
    let close = start.elapsed();
    assert!((ms(200)..LATE).contains(&close), "{close:?}");
    assert!(data < LATE && data < close);
}

#[tokio::test]
async fn timeout_discards_data_and_then_closes() {
    let (proxy, server) = echo_through().await;
    let mut client = connect(&proxy).await;
    round_trip(&mut client).await;
    let start = Instant::now();
    let _hole = proxy.add(Toxic::timeout(ms(150)).upstream()).unwrap();
    client.write_all(b"lost").await.unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    let time = start.elapsed();
    assert!(rest.is_empty());
    assert!((ms(150)..LATE).contains(&time), "{time:?}");
    assert_eq!(server.received(), 4, "only the data before the toxic");
}

#[tokio::test]
async fn a_black_hole_stays_until_it_is_removed_and_then_closes() {
    let (proxy, _server) = echo_through().await;
    let mut client = connect(&proxy).await;
    let hole = proxy.add(Toxic::black_hole()).unwrap();
    client.write_all(b"ping").await.unwrap();
    let mut received = [0; 4];
    assert!(tokio::time::timeout(ms(150), client.read(&mut received)).await.is_err(), "no data and no close");
    drop(hole);
    assert_eq!(client.read(&mut received).await.unwrap(), 0, "closed without data");
    let mut next = connect(&proxy).await;
    round_trip(&mut next).await;
}

#[tokio::test]
async fn reset_peer_sends_a_reset_to_both_sides() {
    let (proxy, server) = echo_through().await;
    let mut open_before = connect(&proxy).await;
    round_trip(&mut open_before).await;
    let _reset = proxy.add(Toxic::reset_peer(Duration::ZERO)).unwrap();
    let mut open_after = connect(&proxy).await;
    for (number, client) in [&mut open_before, &mut open_after].into_iter().enumerate() {
        client.write_all(b"ping").await.unwrap();
        let error = client.read(&mut [0; 4]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        eventually("the server sees the reset", || server.resets() == number + 1).await;
    }
    assert_eq!(server.received(), 12, "the server got all requests: only the responses are lost");
}

#[tokio::test]
async fn reset_peer_waits_for_its_timeout_and_upstream_loses_the_request() {
    let (proxy, server) = echo_through().await;
    let _reset = proxy.add(Toxic::reset_peer(ms(150)).upstream()).unwrap();
    let mut client = connect(&proxy).await;
    let start = Instant::now();
    client.write_all(b"ping").await.unwrap();
    let error = client.read(&mut [0; 4]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!((ms(150)..LATE).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(server.received(), 0);
}

#[tokio::test]
async fn a_reset_of_the_server_is_passed_on() {
    let server = Server::new(async |stream: TcpStream| {
        stream.readable().await.unwrap();
        // Closing a socket with unread data sends RST.
    })
    .await;
    let proxy = server.proxy().await;
    let mut client = connect(&proxy).await;
    client.write_all(b"ping").await.unwrap();
    assert_eq!(client.read(&mut [0; 4]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn slicer_sends_small_packets() {
    let server = Server::new(async |mut stream| stream.write_all(&[7; 60]).await.unwrap()).await;
    let proxy = server.proxy().await;
    let _slices = proxy.add(Toxic::slicer(10, 5, ms(20))).unwrap();
    let mut client = connect(&proxy).await;
    let start = Instant::now();
    let (mut sizes, mut buffer) = (Vec::new(), [0; 1000]);
    loop {
        match client.read(&mut buffer).await.unwrap() {
            0 => break,
            size => sizes.push(size),
        }
    }
    assert_eq!(sizes.iter().sum::<usize>(), 60);
    // At least 60 / 15 slices with 20 ms between them. A slow machine can merge some.
    assert!(start.elapsed() >= ms(60) && start.elapsed() < LATE, "{:?}", start.elapsed());
    assert!(sizes.len() > 1, "{sizes:?}");
}

#[tokio::test]
async fn limit_data_passes_exactly_the_limit_and_closes() {
    let server = Server::new(async |mut stream| {
        let _ = stream.write_all(&vec![7; 100_000]).await;
        // Until the proxy closes.
        let _ = stream.read(&mut [0; 1]).await;
    })
    .await;
    let proxy = server.proxy().await;
    let _limit = proxy.add(Toxic::limit_data(12_345)).unwrap();
    let mut client = connect(&proxy).await;
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    assert_eq!(received.len(), 12_345);
    eventually("the connection ends", || proxy.stats().open == 0).await;
}

#[tokio::test]
async fn disable_closes_everything_and_enable_uses_the_same_port() {
    let (proxy, _server) = echo_through().await;
    let address = proxy.address();
    let mut client = connect(&proxy).await;
    round_trip(&mut client).await;
    let _slow = proxy.add(Toxic::latency(ms(50))).unwrap();
    proxy.disable().await;
    assert!(!proxy.is_enabled());
    assert!(matches!(client.read(&mut [0; 4]).await, Ok(0) | Err(_)), "closed");
    assert!(TcpStream::connect(address).await.is_err(), "refused");
    proxy.enable().await.unwrap();
    assert_eq!(proxy.address(), address);
    let mut client = connect(&proxy).await;
    assert!(round_trip(&mut client).await >= ms(50), "the toxics stay");
}

#[tokio::test]
async fn toxics_change_open_connections_at_once() {
    let (proxy, _server) = echo_through().await;
    let mut client = connect(&proxy).await;
    let quick = round_trip(&mut client).await;
    let slow = proxy.add(Toxic::latency(ms(100))).unwrap();
    assert!(round_trip(&mut client).await >= ms(100));
    slow.update(Effect::Latency { latency: ms(200), jitter: Duration::ZERO }).unwrap();
    assert!(round_trip(&mut client).await >= ms(200));
    // A response that waits for a minute arrives when the toxic is removed.
    slow.update(Effect::Latency { latency: Duration::from_mins(1), jitter: Duration::ZERO }).unwrap();
    client.write_all(b"ping").await.unwrap();
    let mut received = [0; 4];
    assert!(tokio::time::timeout(ms(50), client.read_exact(&mut received)).await.is_err());
    drop(slow);
    client.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"ping");
    eventually("the direct path is used again", || proxy.stats().affected == 0).await;
    assert!(quick < LATE && round_trip(&mut client).await < LATE);
}

// Bytes are on the way in both directions while toxics come and go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_is_lost_while_toxics_change() {
    let (proxy, _server) = echo_through().await;
    let mut client = connect(&proxy).await;
    let sent: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 249) as u8).collect();
    let (mut reader, mut writer) = client.split();
    let mut received = vec![0; sent.len()];
    let transfer = async {
        let (write, read) = tokio::join!(writer.write_all(&sent), reader.read_exact(&mut received));
        write.unwrap();
        read.unwrap();
    };
    let change = async {
        for _ in 0..60 {
            let one = proxy.add(Toxic::latency_with_jitter(ms(2), ms(2))).unwrap();
            let two = proxy.add(Toxic::slicer(5000, 1000, Duration::ZERO)).unwrap();
            let three = proxy.add(Toxic::bandwidth(TransferRate::kilobytes(50_000)).upstream()).unwrap();
            tokio::time::sleep(ms(3)).await;
            drop(one);
            tokio::task::yield_now().await;
            drop((two, three));
            tokio::time::sleep(ms(1)).await;
        }
    };
    tokio::join!(transfer, change);
    assert_eq!(received, sent);
}

// The direct path holds data that it cannot write while the client does not read.
#[tokio::test]
async fn data_that_waits_on_the_direct_path_passes_the_new_toxic() {
    // More than the buffers of all sockets hold. 251 is no divisor of a buffer size, so that lost data changes the rest.
    let data: Vec<u8> = (0..251).collect::<Vec<u8>>().repeat(200_000);
    let expected = data.clone();
    let (blocked, mut is_blocked) = tokio::sync::mpsc::channel(1);
    let server = Server::new(move |mut stream| {
        let (blocked, data) = (blocked.clone(), data.clone());
        async move {
            let mut sent = 0;
            while sent < data.len() {
                let write = stream.write(&data[sent..]);
                match tokio::time::timeout(ms(100), write).await {
                    Ok(written) => sent += written.unwrap(),
                    Err(_) => drop(blocked.try_send(())),
                }
            }
        }
    })
    .await;
    let proxy = server.proxy().await;
    let mut client = connect(&proxy).await;
    is_blocked.recv().await.unwrap();
    let _slices = proxy.add(Toxic::slicer(60_000, 1000, Duration::ZERO)).unwrap();
    eventually("the toxic is in the path", || proxy.stats().affected == 1).await;
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    assert_eq!(received.len(), expected.len());
    assert!(received == expected, "the data changed");
}

#[tokio::test]
async fn toxicity_affects_its_share_of_connections() {
    let (proxy, _server) = echo_through().await;
    let half = proxy.add(Toxic::latency(ms(1)).toxicity(0.5)).unwrap();
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(connect(&proxy).await);
    }
    eventually_with("all are open", || (proxy.stats().open == 200).then_some(())).await;
    let is_about_half = || (60..=140).contains(&proxy.stats().affected);
    eventually("about half is affected", is_about_half).await;
    drop(half);
    let _none = proxy.add(Toxic::black_hole().toxicity(0.0)).unwrap();
    for client in &mut clients {
        round_trip(client).await;
    }
    assert_eq!(proxy.stats().affected, 0);
}

#[tokio::test]
async fn the_same_seed_affects_the_same_connections() {
    let (_, server) = echo_through().await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        let proxy = Proxy::builder().seed(42).start("127.0.0.1:0", &server.address()).await.unwrap();
        let _some = proxy.add(Toxic::limit_data(0).toxicity(0.5)).unwrap();
        let mut hits = Vec::new();
        for _ in 0..40 {
            let mut client = connect(&proxy).await;
            client.write_all(b"ping").await.unwrap();
            hits.push(client.read_exact(&mut [0; 4]).await.is_err());
        }
        runs.push(hits);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].contains(&true) && runs[0].contains(&false));
}

#[tokio::test]
async fn a_missing_upstream_closes_the_connection_and_the_proxy_stays() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    drop(listener);
    let proxy = Proxy::start("127.0.0.1:0", &upstream.to_string()).await.unwrap();
    for number in 1..=2 {
        let mut client = connect(&proxy).await;
        assert!(matches!(client.read(&mut [0; 4]).await, Ok(0) | Err(_)));
        eventually("it is counted", || proxy.stats().failed == number).await;
    }
    let server = Server::echo_at(upstream).await;
    let mut client = connect(&proxy).await;
    round_trip(&mut client).await;
    drop(server);
}

#[tokio::test]
async fn connections_above_the_limit_are_closed() {
    let (_, server) = echo_through().await;
    let proxy = Proxy::builder().connections(2).start("127.0.0.1:0", &server.address()).await.unwrap();
    let mut clients = [connect(&proxy).await, connect(&proxy).await];
    for client in &mut clients {
        round_trip(client).await;
    }
    let mut third = connect(&proxy).await;
    assert!(matches!(third.read(&mut [0; 4]).await, Ok(0) | Err(_)));
    assert_eq!(proxy.stats().rejected, 1);
    let [first, mut second] = clients;
    drop(first);
    eventually("a slot is free", || proxy.stats().open == 1).await;
    let mut fourth = connect(&proxy).await;
    round_trip(&mut fourth).await;
    round_trip(&mut second).await;
}

#[tokio::test]
async fn dropping_the_proxy_closes_its_listener_and_connections() {
    let (proxy, _server) = echo_through().await;
    let mut client = connect(&proxy).await;
    round_trip(&mut client).await;
    let address = proxy.address();
    drop(proxy);
    assert!(matches!(client.read(&mut [0; 4]).await, Ok(0) | Err(_)));
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn wrong_values_are_explained() {
    let start =
        async |listen: &str, upstream: &str| Proxy::start(listen, upstream).await.unwrap_err().to_string();
    let remote = start("0.0.0.0:0", "127.0.0.1:1").await;
    assert!(remote.contains("refused to listen on 0.0.0.0:0") && remote.contains("token"), "{remote}");
    assert!(start("127.0.0.1", "127.0.0.1:1").await.contains("the port is missing"));
    assert!(start("127.0.0.1:0", "127.0.0.1").await.contains("invalid upstream `127.0.0.1`"));
    let (proxy, server) = echo_through().await;
    let own = proxy.address().to_string();
    assert!(start(&own, &server.address()).await.contains("address already in use"));
    assert!(start("127.0.0.1:19", "localhost:19").await.contains("the proxy itself"));
    let add = |toxic: Toxic| proxy.add(toxic).unwrap_err().to_string();
    assert!(add(Toxic::black_hole().toxicity(1.5)).contains("from 0 to 1"));
    assert!(add(Toxic::black_hole().toxicity(f64::NAN)).contains("from 0 to 1"));
    assert!(add(Toxic::slicer(0, 0, ms(0))).contains("average_size is 0"));
    assert!(add(Toxic::slicer(5, 5, ms(0))).contains("less than average_size"));
    assert!(add(Toxic::latency(Duration::MAX)).contains("at most 30 days"));
    assert!(add(Toxic::black_hole().named("x".repeat(101))).contains("1 to 100 bytes"));
    assert!(add(Toxic::black_hole().named("a/b")).contains("without `/`"));
    let _hole = proxy.add(Toxic::black_hole()).unwrap();
    assert!(add(Toxic::black_hole()).contains("toxic already exists"));
    assert!(matches!(proxy.remove("none"), Err(ProxyError::ToxicNotFound { .. })));
    for number in 1..64 {
        proxy.add(Toxic::new(Effect::Noop).named(number.to_string())).unwrap().keep();
    }
    assert!(add(Toxic::new(Effect::Noop).named("one more")).contains("the limit is 64"));
}

#[tokio::test]
async fn a_guard_does_not_touch_a_newer_toxic_with_its_name() {
    let (proxy, _server) = echo_through().await;
    let old = proxy.add(Toxic::limit_data(1)).unwrap();
    proxy.clear();
    let new = proxy.add(Toxic::limit_data(2)).unwrap();
    assert!(old.update(Effect::LimitData { bytes: 3 }).is_err());
    drop(old);
    assert_eq!(*proxy.toxics()[0].effect(), Effect::LimitData { bytes: 2 });
    assert!(matches!(new.update(Effect::Noop), Err(ProxyError::KindChange { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_work_at_the_same_time() {
    support::allow_files(6000);
    let (proxy, _server) = echo_through().await;
    let _slow = proxy.add(Toxic::latency(ms(20)).toxicity(0.5)).unwrap();
    let mut clients = Vec::new();
    for _ in 0..1000 {
        clients.push(connect(&proxy).await);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        tasks.spawn(async move {
            for round in 0..5 {
                let sent = format!("{number:>8}{round:>8}").into_bytes();
                client.write_all(&sent).await.unwrap();
                let mut received = [0; 16];
                client.read_exact(&mut received).await.unwrap();
                assert_eq!(received[..], sent);
            }
            client
        });
    }
    let open = tasks.join_all().await;
    assert_eq!(proxy.stats().open, 1000);
    assert_eq!(proxy.stats().accepted, 1000);
    drop(open);
    eventually("all are closed", || proxy.stats().open == 0).await;
}
