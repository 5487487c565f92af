//! Texts that describe a failure and its remedy.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// The rights that a user needs.
pub(crate) const RIGHTS: &str = "+eval +evalsha +time +exists +hmget +hexists +hset +hdel +get +set +del +pexpireat +zadd +zrem \
                                 +zcard +zrange +zremrangebyscore";

/// A problem with its remedy. It contains no password: the server does not return it.
pub(crate) fn of(error: &RedisError, prefix: &str) -> String {
    if error.is_connection_refusal() {
        return "the connection was refused: check that the server runs and the address is right".to_owned();
    }
    if error.is_timeout() {
        return "the server did not respond in time: check the network and the load of the server".to_owned();
    }
    let detail = error.to_string();
    let remedy = match (error.kind(), error.code().unwrap_or_default()) {
        (ErrorKind::AuthenticationFailed, _) | (_, "WRONGPASS" | "NOAUTH") => {
            "the server refused the login: check the user and the password in the URL".to_owned()
        }
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => missing_right(prefix),
        (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => {
            "the server is a read-only replica: use the address of the primary".to_owned()
        }
        (_, "OOM") => "the server has reached `maxmemory` and accepts no new record: raise `maxmemory`, or set a \
                       shorter `ttl`"
            .to_owned(),
        (_, "NOREPLICAS") => {
            "fewer replicas are connected than `min-replicas-to-write` demands: check the replicas".to_owned()
        }
        (_, "MISCONF") => "the server cannot save its data: check its disk".to_owned(),
        (_, "BUSY") => "the server is busy with a long script: check which program runs it".to_owned(),
        (ErrorKind::Server(ServerErrorKind::BusyLoading), _) => {
            "the server is loading its data: wait until it has started".to_owned()
        }
        (ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot), _) => {
            "the server is part of a Redis Cluster, which resilient-redis does not support: use a single server"
                .to_owned()
        }
        (ErrorKind::Parse | ErrorKind::UnexpectedReturnType, _) => {
            "the response is not the Redis protocol: check that the address and port belong to a Redis server, and \
             whether it needs TLS"
                .to_owned()
        }
        _ if detail.contains("invalid peer certificate") => {
            "the certificate of the server is not trusted: add its authority to the certificates of the system, and check \
             the host name in the URL"
                .to_owned()
        }
        (ErrorKind::Io, _) => "the connection was lost: check the network and the server".to_owned(),
        // Redis before 7.2 has no code for a right that is missing in a script.
        _ if detail.contains("can't run this command") || detail.contains("ACL failure") => missing_right(prefix),
        _ => "the server reported an error".to_owned(),
    };
    format!("{remedy} ({})", shortened(&detail))
}

fn missing_right(prefix: &str) -> String {
    format!("the user lacks a right: grant `~{prefix}:* {RIGHTS}`")
}

fn shortened(detail: &str) -> &str {
    &detail[..detail.floor_char_boundary(200)]
}

/// Whether the connection cannot be used any longer.
pub(crate) fn is_lost(error: &RedisError) -> bool {
    // A demoted primary stays connected. The address may belong to another server by now.
    let is_replica = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
    is_replica || error.is_io_error() || error.is_unrecoverable_error()
}
