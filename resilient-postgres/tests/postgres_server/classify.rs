//! The classes of errors of a real server. T33.

use resilient_runtime::{Class, Classify};
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Connection as _, Error};

use crate::server::{Server, run};

fn code_and_class(error: &Error) -> (String, Class) {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default();
    (code.into_owned(), error.classify())
}

async fn connect(server: &Server) -> PgConnection {
    PgConnection::connect(&server.url()).await.unwrap()
}

/// The error of statements that are run at once.
async fn failed(server: &Server, statements: &str) -> (String, Class) {
    code_and_class(&run(&mut connect(server).await, statements).await.unwrap_err())
}

fn found(code: &str, class: Class) -> (String, Class) {
    (code.to_owned(), class)
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn errors_are_classified_by_whether_a_repetition_can_help() {
    let server = Server::start().await;
    server.run("CREATE TABLE t (id int PRIMARY KEY CHECK (id < 100), n int NOT NULL DEFAULT 0)").await;
    server.run("INSERT INTO t VALUES (1), (2)").await;

    assert_eq!(failed(&server, "INSERT INTO t VALUES (1)").await, found("23505", Class::Ignored));
    assert_eq!(failed(&server, "INSERT INTO t VALUES (100)").await, found("23514", Class::Ignored));
    assert_eq!(failed(&server, "INSERT INTO t VALUES (3, NULL)").await, found("23502", Class::Ignored));
    assert_eq!(failed(&server, "SELEC 1").await, found("42601", Class::Permanent));
    assert_eq!(failed(&server, "SELECT * FROM nowhere").await, found("42P01", Class::Permanent));
    assert_eq!(failed(&server, "SELECT 1 / 0").await, found("22012", Class::Permanent));
    let slow = "SET statement_timeout = 10; SELECT pg_sleep(600)";
    assert_eq!(failed(&server, slow).await, found("57014", Class::UNCERTAIN));
    let read_only = "BEGIN READ ONLY; DELETE FROM t";
    assert_eq!(failed(&server, read_only).await, found("25006", Class::TRANSIENT));

    let mut holder = connect(&server).await;
    run(&mut holder, "BEGIN; UPDATE t SET n = 1 WHERE id = 1").await.unwrap();
    let locked = "SET lock_timeout = 10; UPDATE t SET n = 2 WHERE id = 1";
    assert_eq!(failed(&server, locked).await, found("55P03", Class::TRANSIENT));
    let mut other = connect(&server).await;
    run(&mut other, "BEGIN; UPDATE t SET n = 2 WHERE id = 2").await.unwrap();
    let (one, two) = tokio::join!(
        run(&mut holder, "UPDATE t SET n = 1 WHERE id = 2"),
        run(&mut other, "UPDATE t SET n = 2 WHERE id = 1"),
    );
    let victim = one.err().or(two.err()).unwrap();
    assert_eq!(code_and_class(&victim), found("40P01", Class::TRANSIENT));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn serialization_failures_are_transient() {
    let server = Server::start().await;
    server.run("CREATE TABLE t (n int); INSERT INTO t VALUES (1)").await;
    let (mut one, mut two) = (connect(&server).await, connect(&server).await);
    for connection in [&mut one, &mut two] {
        run(connection, "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT * FROM t").await.unwrap();
    }
    run(&mut one, "UPDATE t SET n = 2; COMMIT").await.unwrap();
    let error = run(&mut two, "UPDATE t SET n = 3").await.unwrap_err();
    assert_eq!(code_and_class(&error), found("40001", Class::TRANSIENT));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn errors_of_connections_are_classified_by_whether_a_statement_was_sent() {
    let mut server = Server::start().await;
    server.run("CREATE ROLE secured LOGIN PASSWORD 'pw'").await;
    let refused = async |login: &str, database: &str| {
        let url = format!("postgres://{login}@{}/{database}?sslmode=disable", server.address());
        code_and_class(&PgConnection::connect(&url).await.unwrap_err())
    };
    assert_eq!(refused("secured:wrong", "postgres").await, found("28P01", Class::Permanent));
    assert_eq!(refused("admin", "nowhere").await, found("3D000", Class::Permanent));
    server.run("ALTER ROLE secured CONNECTION LIMIT 0").await;
    let full = Class::Overload { retry_after: None };
    assert_eq!(refused("secured:pw", "postgres").await, found("53300", full));

    let mut ended = connect(&server).await;
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut ended).await.unwrap();
    server.run(&format!("SELECT pg_terminate_backend({pid})")).await;
    let error = run(&mut ended, "SELECT 1").await.unwrap_err();
    // The statement may have been sent before the server ended the connection.
    assert_eq!(error.classify(), Class::UNCERTAIN, "{error:?}");

    let mut lost = connect(&server).await;
    run(&mut lost, "BEGIN").await.unwrap();
    server.signal("KILL");
    server.kill();
    let error = run(&mut lost, "COMMIT").await.unwrap_err();
    assert_eq!(error.classify(), Class::UNCERTAIN, "{error:?}");
    let error = PgConnection::connect(&server.url()).await.unwrap_err();
    assert_eq!(error.classify(), Class::TRANSIENT, "{error:?}");
    let pool: PgPool = crate::server::pool(&server.url());
    pool.close().await;
    let error = pool.acquire().await.unwrap_err();
    assert_eq!(error.classify(), Class::NotExecuted { retry_after: None });
}
