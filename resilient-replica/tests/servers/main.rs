//! Replica sets of several processes over real servers that fail. The tests start `redis-server` and `PostgreSQL`, and are
//! ignored without `cargo xtask replica`.
#![cfg(target_os = "linux")]

mod available;
mod consistent;
mod faults;
#[path = "../history/mod.rs"]
mod history;
mod members;
#[path = "../../../resilient-postgres/tests/postgres_server/server.rs"]
#[expect(dead_code, reason = "some of it is for the tests of `resilient-postgres` only")]
mod postgres_server;
mod process;
mod record;
#[path = "../../../resilient-redis/tests/redis_server/server.rs"]
#[expect(dead_code, reason = "some of it is for the tests of `resilient-redis` only")]
mod redis_server;
