//! Running instances, and a store that the settings name by its URL.

use std::time::{Duration, Instant};

use resilient_redis::{Config, RedisStore};
use resilient_runtime::idempotency::{self, Fingerprint};
use resilient_runtime::store::{self, InstanceStore};
use resilient_runtime::{Component, Registry};

use crate::server::{PATIENCE, Server};
use crate::{HOUR, problem};

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn an_instance_counts_until_its_announcement_ends_by_the_time_of_the_server() {
    let server = Server::start(&[]).await;
    let (first, second) = (server.store(), server.store());
    assert_eq!(first.announce(1, HOUR).await, Ok(1));
    assert_eq!(second.announce(2, HOUR).await, Ok(2));
    assert_eq!(first.announce(1, HOUR).await, Ok(2), "it is counted once");
    let other = RedisStore::new(Config::new(server.url()).prefix("other").timeout(PATIENCE)).unwrap();
    assert_eq!(other.announce(3, HOUR).await, Ok(1), "another prefix is another service");
    assert_eq!(second.leave(2).await, Ok(()));
    assert_eq!(second.leave(2).await, Ok(()), "it has left already");
    assert_eq!(first.announce(1, HOUR).await, Ok(1));
    second.announce(2, Duration::from_millis(5)).await.unwrap();
    let start = Instant::now();
    while first.announce(1, HOUR).await != Ok(1) {
        assert!(start.elapsed() < PATIENCE);
    }
    assert_eq!(first.announce(1, Duration::ZERO).await.map(|count| count <= 1), Ok(true));
    let start = Instant::now();
    let mut admin = server.admin().await;
    while redis::cmd("EXISTS").arg("resilient:instances").query_async(&mut admin).await != Ok(0) {
        assert!(start.elapsed() < PATIENCE, "the key expires with the last announcement");
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_foreign_value_is_an_error_and_stays() {
    let server = Server::start(&[]).await;
    server.run("SET resilient:instances hello").await;
    let store = server.store();
    for found in [store.announce(1, HOUR).await.map(drop), store.leave(1).await] {
        assert!(problem(found).contains("another program has written to the key"));
    }
    assert_eq!(server.run("GET resilient:instances").await, redis::Value::BulkString(b"hello".to_vec()));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn the_settings_name_a_store_by_its_url() {
    let server = Server::start(&[]).await;
    let registry = Registry::new();
    resilient_redis::register(&registry);
    let store = registry.store("shared");
    let settings = || store::Config::default().prefix("shop").timeout(PATIENCE);
    store.reconfigure(settings().url(server.url())).unwrap();
    let once = registry.idempotency("charge");
    let shared = idempotency::Config::default().store("shared").store_timeout(PATIENCE);
    once.reconfigure(shared).unwrap();
    let charge = || once.call_async("order 7", Fingerprint(7), async || Some(995));
    assert_eq!((charge().await, charge().await), (Some(995), Some(995)));
    let keys = server.run("KEYS shop:idempotency:*").await;
    assert!(matches!(&keys, redis::Value::Array(keys) if keys.len() == 1), "{keys:?}");

    // A URL that is not valid is reported by the settings check, without its login.
    store.reconfigure(settings().url("redis://:s3cret@host:99999")).unwrap();
    let report = format!("{:?}", registry.validate());
    assert!(report.contains("url is not valid") && !report.contains("s3cret"), "{report}");
}
