//! Servers that refuse, and tables of another version. Each error names the store and the remedy.

use resilient_postgres::{ClaimIn, Config, PostgresStore};
use resilient_runtime::idempotency::{Claimed, IdempotencyStore, Owner, StoreError};
use resilient_runtime::{Class, Classify};

use crate::server::{PATIENCE, Server};
use crate::{HOUR, claim, problem};

/// Performs every operation. Returns their errors.
async fn all_operations(store: &PostgresStore, server: &Server) -> Vec<String> {
    let mut tx = server.pool().begin().await.unwrap();
    let in_transaction = store.claim_in(&mut tx, ClaimIn::new("charge", "k")).await.unwrap_err();
    assert_ne!(in_transaction.classify(), Class::UNKNOWN, "{in_transaction:?}");
    let problems = [
        store.claim(claim("k", 1)).await.map(drop),
        store.renew("k", Owner(1), HOUR).await.map(drop),
        store.complete("k", Owner(1), vec![1], HOUR).await.map(drop),
        store.abandon("k", Owner(1)).await.map(drop),
        store.lose("k", Owner(1)).await.map(drop),
        store.check().await,
        store.expire().await.map(drop),
    ];
    problems.map(problem).into_iter().chain([in_transaction.to_string()]).collect()
}

async fn all_fail(store: &PostgresStore, server: &Server, expected: &str) {
    for problem in all_operations(store, server).await {
        let name = format!("postgres store postgres://{}/postgres: ", server.address());
        assert!(problem.starts_with(&name) && problem.contains(expected), "{expected}: {problem}");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn tables_that_are_missing_or_of_another_version_are_an_error_and_stay_unchanged() {
    // T171
    let server = Server::start_with(&[]).await;
    let store = server.store();
    let missing = "the table `public.resilient_idempotency` does not exist: run `PostgresStore::migrate`";
    all_fail(&store, &server, missing).await;
    server.run("CREATE TABLE resilient_idempotency (name text)").await;
    let migrated = problem(store.migrate().await);
    assert!(
        migrated.contains("does not belong to this version of resilient-postgres: remove it"),
        "{migrated}"
    );
    server.run("DROP TABLE resilient_idempotency").await;

    // Several instances start at the same time.
    let other = server.store();
    let (one, two) = tokio::join!(store.migrate(), other.migrate());
    assert_eq!((one, two), (Ok(()), Ok(())));
    assert_eq!(store.migrate().await, Ok(()));
    assert_eq!(store.check().await, Ok(()));
    assert_eq!(store.claim(claim("k", 1)).await, Ok(Claimed::Acquired));

    server.run("INSERT INTO resilient_idempotency_version VALUES (3)").await;
    let newer = "the tables have schema version 3, this version of resilient-postgres needs 2: update";
    all_fail(&store, &server, newer).await;
    assert!(problem(store.migrate().await).contains(newer));
    server.run("UPDATE resilient_idempotency_version SET version = version - 2").await;
    all_fail(&store, &server, "schema version 1, this version of resilient-postgres needs 2: run `Postg")
        .await;
    server.run("DELETE FROM resilient_idempotency_version").await;
    all_fail(&store, &server, "is empty, so the schema version of `public.resilient_idempotency` is not")
        .await;
    server.run("INSERT INTO resilient_idempotency_version VALUES (2)").await;
    assert_eq!(store.renew("k", Owner(1), HOUR).await, Ok(true), "the record is unchanged");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn the_names_of_the_schema_and_the_table_can_be_chosen() {
    let server = Server::start().await;
    let config = server.config().schema("order").table("user");
    let store = PostgresStore::new(config.clone()).unwrap();
    store.migrate().await.unwrap();
    assert_eq!(store.claim(claim("k", 1)).await, Ok(Claimed::Acquired));
    assert_eq!(server.store().claim(claim("k", 2)).await, Ok(Claimed::Acquired), "another table");
    server
        .run(&format!(
            "DROP SCHEMA \"order\" CASCADE; CREATE SCHEMA \"order\"; {}",
            config.migrations().unwrap()
        ))
        .await;
    assert_eq!(store.migrate().await, Ok(()), "the tables exist");
    assert_eq!(store.claim(claim("k", 3)).await, Ok(Claimed::Acquired));
}

fn connect(server: &Server, login: &str, database: &str) -> PostgresStore {
    let url = format!("postgres://{login}@{}/{database}?sslmode=disable", server.address());
    PostgresStore::new(Config::new(url).timeout(PATIENCE)).unwrap()
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_refused_login_is_an_error_without_the_password() {
    let server = Server::start().await;
    server.run("CREATE ROLE secured LOGIN SUPERUSER PASSWORD 'pw'").await;
    assert_eq!(connect(&server, "secured:pw", "postgres").check().await, Ok(()));
    for (login, database, expected) in [
        ("secured:s3cret", "postgres", "refused the login: check the user and the password"),
        ("unknown:s3cret", "postgres", "refused the login: check the user and the password"),
        ("secured:pw", "nowhere", "the database does not exist"),
    ] {
        let problem = problem(connect(&server, login, database).claim(claim("k", 1)).await);
        assert!(problem.contains(expected) && !problem.contains("s3cret"), "{problem}");
    }
    let store = connect(&server, "secured:s3cret", "postgres");
    let mut tx = server.pool().begin().await.unwrap();
    let claimed = store.claim_in(&mut tx, ClaimIn::new("charge", "k")).await.unwrap();
    let shown = format!("{claimed:?} {store:?}");
    assert!(shown.contains(&server.address()) && !shown.contains("s3cret"), "{shown}");
    server.run("ALTER ROLE secured NOSUPERUSER CONNECTION LIMIT 0").await;
    let problem = problem(connect(&server, "secured:pw", "postgres").claim(claim("k", 1)).await);
    assert!(problem.contains("too many connections: raise `max_connections`"), "{problem}");
}

/// Makes every operation.
async fn operate(store: &PostgresStore) -> Result<(), StoreError> {
    for (key, owner) in [("a", 1), ("b", 2)] {
        store.claim(claim(key, owner)).await?;
    }
    store.renew("a", Owner(1), HOUR).await?;
    store.complete("a", Owner(1), vec![1], HOUR).await?;
    store.lose("b", Owner(2)).await?;
    store.expire().await?;
    store.abandon("b", Owner(2)).await.map(drop)
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn the_documented_rights_are_enough_and_each_missing_one_is_an_error() {
    let server = Server::start().await;
    let grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON resilient_idempotency TO shop; \
                 GRANT SELECT ON resilient_idempotency_version TO shop";
    server.run(&format!("CREATE ROLE shop LOGIN; {grant}")).await;
    let store = connect(&server, "shop", "postgres");
    assert_eq!(operate(&store).await, Ok(()));
    for (right, table) in [
        ("SELECT", "resilient_idempotency"),
        ("INSERT", "resilient_idempotency"),
        ("UPDATE", "resilient_idempotency"),
        ("DELETE", "resilient_idempotency"),
        ("SELECT", "resilient_idempotency_version"),
    ] {
        server.run(&format!("TRUNCATE resilient_idempotency; REVOKE {right} ON {table} FROM shop")).await;
        let problem = problem(operate(&store).await);
        assert!(
            problem.contains("the user lacks a right: GRANT USAGE ON SCHEMA public, SELECT"),
            "{problem}"
        );
        server.run(grant).await;
    }
    let config = Config::new(format!("postgres://shop@{}/postgres?sslmode=disable", server.address()));
    let problem = problem(PostgresStore::new(config.table("other")).unwrap().migrate().await);
    assert!(problem.contains("may not create tables in the schema `public`"), "{problem}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_read_only_server_is_an_error() {
    let server = Server::start().await;
    server.run("ALTER DATABASE postgres SET default_transaction_read_only = on").await;
    let problem = problem(server.store().claim(claim("k", 1)).await);
    assert!(problem.contains("the server is read-only: use the address of the primary"), "{problem}");
    let mut tx = server.pool().begin().await.unwrap();
    let error = server.store().claim_in(&mut tx, ClaimIn::new("charge", "k")).await.unwrap_err();
    assert!(error.to_string().contains("the server is read-only"), "{error}");
    assert_eq!(error.classify(), Class::TRANSIENT, "after a failover, another server is the primary");
}
