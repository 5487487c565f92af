//! The servers of the tests.

#[path = "../tests/redis_server/group.rs"]
pub(crate) mod group;
#[path = "../tests/redis_server/server.rs"]
pub(crate) mod server;
