//! `Classify` for `redis`.

use std::error::Error as _;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::{Class, Classify, found};

impl Classify for RedisError {
    /// Classifies an error of `redis`.
    ///
    /// | error | class |
    /// |---|---|
    /// | connection refused; server is busy, loading, moved, read-only, without a master or with too few replicas | transient |
    /// | out of memory | overload |
    /// | timeout, connection lost, invalid response, error of a script, partially failed pipeline | uncertain |
    /// | invalid request or configuration, failed authentication, aborted transaction | permanent |
    /// | others | unknown |
    fn classify(&self) -> Class {
        if self.is_connection_refusal() {
            return Class::TRANSIENT;
        }
        if self.is_timeout() || self.is_connection_dropped() {
            return Class::UNCERTAIN;
        }
        let kind = self.kind();
        if kind == ErrorKind::Server(ServerErrorKind::ExecAbort) {
            return Class::Permanent;
        }
        // The other commands of the pipeline were executed.
        if self.clone().into_server_errors().is_some_and(|errors| !errors.is_empty()) && self.code().is_none()
        {
            return Class::UNCERTAIN;
        }
        match kind {
            ErrorKind::Io => {
                self.source().and_then(found).and_then(crate::Judgement::class).unwrap_or(Class::UNKNOWN)
            }
            ErrorKind::Server(kind) => match kind {
                ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
                | ServerErrorKind::ReadOnly => Class::TRANSIENT,
                // A script may have written before it failed.
                ServerErrorKind::ResponseError => Class::UNCERTAIN,
                _ => Class::Permanent,
            },
            ErrorKind::MasterNameNotFoundBySentinel
            | ErrorKind::NoValidReplicasFoundBySentinel
            | ErrorKind::ClusterConnectionNotFound => Class::TRANSIENT,
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Class::UNCERTAIN,
            ErrorKind::AuthenticationFailed
            | ErrorKind::InvalidClientConfig
            | ErrorKind::Client
            | ErrorKind::EmptySentinelList
            | ErrorKind::RESP3NotSupported => Class::Permanent,
            _ => match self.code() {
                Some("OOM") => Class::Overload { retry_after: None },
                // The server refuses changes, because it has too few replicas or cannot write to its disk.
                Some("BUSY" | "NOREPLICAS" | "MISCONF") => Class::TRANSIENT,
                Some("WRONGTYPE" | "NOAUTH" | "WRONGPASS") => Class::Permanent,
                _ => Class::UNKNOWN,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use redis::{ErrorKind, RedisError, ServerErrorKind, make_extension_error};

    use crate::{Class, Classify as _};

    #[test]
    fn errors_are_classified_by_whether_the_command_may_have_been_executed() {
        // T33
        let io = |kind: io::ErrorKind| RedisError::from(io::Error::from(kind)).classify();
        assert_eq!(io(io::ErrorKind::ConnectionRefused), Class::TRANSIENT);
        assert_eq!(io(io::ErrorKind::ConnectionReset), Class::UNCERTAIN);
        assert_eq!(io(io::ErrorKind::TimedOut), Class::UNCERTAIN);
        let of = |kind: ErrorKind| RedisError::from((kind, "failed")).classify();
        assert_eq!(of(ServerErrorKind::BusyLoading.into()), Class::TRANSIENT);
        assert_eq!(of(ServerErrorKind::ClusterDown.into()), Class::TRANSIENT);
        assert_eq!(of(ServerErrorKind::ResponseError.into()), Class::UNCERTAIN);
        assert_eq!(of(ServerErrorKind::CrossSlot.into()), Class::Permanent);
        assert_eq!(of(ErrorKind::UnexpectedReturnType), Class::UNCERTAIN);
        assert_eq!(of(ErrorKind::AuthenticationFailed), Class::Permanent);
        let extension = |code: &str| make_extension_error(code.into(), None).classify();
        assert_eq!(extension("OOM"), Class::Overload { retry_after: None });
        for code in ["BUSY", "NOREPLICAS", "MISCONF"] {
            assert_eq!(extension(code), Class::TRANSIENT, "{code}");
        }
        assert_eq!(extension("MODULE"), Class::UNKNOWN);
    }

    #[test]
    fn it_is_found_in_the_source_chain_of_other_errors() {
        #[derive(Debug, thiserror::Error)]
        #[error("the cache")]
        struct Cache(#[source] RedisError);
        let refused = Cache(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        assert_eq!(Class::found_in(&refused), Some(Class::TRANSIENT));
    }
}
