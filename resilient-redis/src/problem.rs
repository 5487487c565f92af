//! Failures, and texts that describe them and their remedy.

use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why an operation failed.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The connection to a server failed, or the server refused.
    Server { at: Arc<str>, error: RedisError },
    /// Every sentinel failed. This is the failure of one.
    Sentinel(Box<Failure>),
    /// The change was made, but fewer replicas have it than asked for.
    Unconfirmed { replicas: u64, asked: u64 },
    /// Another problem, with its remedy.
    Found(Arc<str>),
}

impl Failure {
    /// Whether the connection cannot be used any longer.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Server { error, .. } if is_lost(error))
    }

    /// Whether the server has no memory for another record. It still responds, and running calls can end.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Server { error, .. } if error.code() == Some("OOM"))
    }

    /// A problem with its remedy. It contains no password: the server does not return it.
    ///
    /// `has_several`: the store uses several servers.
    pub(crate) fn describe(&self, prefix: &str, has_several: bool) -> String {
        match self {
            Self::Server { at, error } if has_several => format!("server {at}: {}", of(error, prefix)),
            Self::Server { error, .. } => of(error, prefix),
            Self::Sentinel(failure) => match &**failure {
                Self::Server { at, error } => format!("sentinel {at}: {}", of_sentinel(error)),
                other => other.describe(prefix, has_several),
            },
            Self::Unconfirmed { replicas, asked } => format!(
                "{replicas} of {asked} replicas confirmed the change in time: it was made and can be lost in a failover; \
                 check the replicas, or wait longer or for fewer of them"
            ),
            Self::Found(problem) => problem.to_string(),
        }
    }
}

fn of_sentinel(error: &RedisError) -> String {
    match (error.kind(), error.code().unwrap_or_default()) {
        (ErrorKind::AuthenticationFailed, _) | (_, "WRONGPASS" | "NOAUTH") => {
            format!(
                "it refused the login: check `sentinel_login` or `sentinel_password` ({})",
                shortened(&error.to_string())
            )
        }
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => {
            "the user of the sentinel lacks a right: grant `+sentinel|get-master-addr-by-name`".to_owned()
        }
        _ if error.to_string().contains("unknown command") => {
            "it is not a sentinel: check the ports in the URL, the usual one is 26379".to_owned()
        }
        _ => of(error, ""),
    }
}

/// The rights that a user needs.
pub(crate) const RIGHTS: &str = "+eval +evalsha +time +exists +hmget +hexists +hset +hdel +del +pexpireat +hget +hlen +hscan \
                                 +zadd +zrem +zcard +zrange +zremrangebyscore +hgetall +get +getrange +set +publish +subscribe";

fn of(error: &RedisError, prefix: &str) -> String {
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
        (ErrorKind::Server(ServerErrorKind::ClusterDown), _) => {
            "the cluster does not serve the key: check `CLUSTER INFO`; with `cluster-require-full-coverage no`, only the \
             keys of a failed node are affected"
                .to_owned()
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
            "the server is part of a Redis Cluster: use `redis+cluster://host:port,host:port`".to_owned()
        }
        (ErrorKind::Parse, _) if detail.contains("Unexpected end of input") => {
            "the connection was lost in the middle of a response: check the network and the server".to_owned()
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
        _ if detail.contains("cluster support disabled") => {
            "the server is not part of a cluster: use `redis://host:port`".to_owned()
        }
        _ if detail.contains("unknown command") => {
            "the server does not know a command: it is a Sentinel (use `redis+sentinel://host:port/master`) or older \
             than Redis 6.2"
                .to_owned()
        }
        _ => "the server reported an error".to_owned(),
    };
    format!("{remedy} ({})", shortened(&detail))
}

fn missing_right(prefix: &str) -> String {
    format!(
        "the user lacks a right: grant `~{prefix}:* {RIGHTS}`, with Sentinel also `+role`, in a cluster \
         `+cluster|slots +asking`, and for `Config::wait` `+wait`"
    )
}

fn shortened(detail: &str) -> &str {
    &detail[..detail.floor_char_boundary(200)]
}

/// Whether the connection cannot be used any longer.
pub(crate) fn is_lost(error: &RedisError) -> bool {
    // A demoted primary stays connected. The address may belong to another server by now.
    let is_replica = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
        || error.detail().is_some_and(|detail| detail.contains("WAIT cannot be used with replica"));
    is_replica || error.is_io_error() || error.is_unrecoverable_error()
}
