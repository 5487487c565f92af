//! Failed logins on a real server.

use std::net::IpAddr;
use std::time::Duration;

use resilient_runtime::store::{LoginRule, LoginStore, StoreError};

use crate::server::Server;

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn it_keeps_every_rule_of_a_store_of_logins() {
    let server = Server::start(&[]).await;
    let pass = async |span| tokio::time::sleep(span).await;
    resilient_runtime::testing::check_login_store(&server.store(), pass).await.unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn failures_have_an_end_and_no_name_is_readable() {
    let server = Server::start(&[]).await;
    let (store, mut admin) = (server.store(), server.admin().await);
    let rule = LoginRule { limit: 3, first_lock: Duration::from_mins(1) };
    store.count("ada@example.org", rule, true).await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut admin).await.unwrap();
    let [key] = &keys[..] else { panic!("{keys:?}") };
    assert!(key.starts_with("resilient:login:{") && !key.contains("ada"), "{key}");
    let value: String = redis::cmd("GET").arg(key).query_async(&mut admin).await.unwrap();
    assert!(value.starts_with("RL1 1000 ") && !value.contains("ada"), "{value}");
    let day: u64 = redis::cmd("TTL").arg(key).query_async(&mut admin).await.unwrap();
    assert!((86_000..=86_400).contains(&day), "{day}");
    store.forgive("ada@example.org").await.unwrap();
    let month: u64 = redis::cmd("TTL").arg(key).query_async(&mut admin).await.unwrap();
    assert!((30 * 86_400 - 400..=30 * 86_400).contains(&month), "{month}");

    // Half of the failures are left after a day.
    let text = |last: u128| format!("RL1 4000 {last} 0 0");
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros();
    let day_ago = now - Duration::from_hours(23).as_micros();
    let _: () = redis::cmd("SET").arg(key).arg(text(day_ago)).query_async(&mut admin).await.unwrap();
    let left = store.forgive("ada@example.org").await.unwrap();
    assert!((2000..2100).contains(&left), "{left}");

    for foreign in ["x", "RL1 x", "RL1 1 2 3"] {
        let _: () = redis::cmd("SET").arg(key).arg(foreign).query_async(&mut admin).await.unwrap();
        let refused = store.count("ada@example.org", rule, true).await;
        assert!(
            matches!(&refused, Err(StoreError::Refused(problem)) if problem.contains("another program")),
            "{refused:?}"
        );
    }
    let _: () = redis::cmd("SET").arg(key).arg("RL2 new").query_async(&mut admin).await.unwrap();
    let refused = store.check("ada@example.org").await.unwrap_err().to_string();
    assert!(refused.contains("later version"), "{refused}");
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn guards_of_two_processes_share_locks_that_outlive_them_and_go_on_without_the_server() {
    use resilient_http::LoginGuard;
    use resilient_runtime::Registry;

    let mut server = Server::start(&[]).await;
    let address: IpAddr = [192, 0, 2, 7].into();
    let instance = || {
        let registry = Registry::new();
        registry.use_store("shared", server.store());
        (LoginGuard::new(registry.clock()).store(registry.store("shared")), registry)
    };
    let guards = [instance(), instance()];
    let attempts = (0..40).map(|number| guards[number % 2].0.attempt("ada", address));
    let admitted = futures_util::future::join_all(attempts).await;
    assert_eq!(admitted.iter().filter(|attempt| attempt.is_ok()).count(), 5);
    drop((admitted, guards));
    let (later, _registry) = instance();
    assert!(later.attempt("ada", address).await.is_err(), "a new process knows the lock");
    later.attempt("bob", address).await.unwrap().succeeded().await;

    let (survivor, _registry) = instance();
    server.kill();
    let mut admitted = 0;
    while admitted < 100 && survivor.attempt("eve", address).await.is_ok() {
        admitted += 1;
    }
    assert_eq!(admitted, 5, "its own failures decide");
}
