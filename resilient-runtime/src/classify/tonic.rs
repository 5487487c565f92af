//! `Classify` for `tonic`.

use std::error::Error as _;
use std::time::Duration;

use tonic::Code;

use super::{Class, Classify};

impl Classify for tonic::Status {
    /// What gRPC says of its [codes](https://grpc.io/docs/guides/status-codes/), and of
    /// [pushback](https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback):
    ///
    /// | code | class |
    /// |---|---|
    /// | `Aborted` | transient |
    /// | `Unavailable`, `DeadlineExceeded` | uncertain: it is no proof that nothing was done |
    /// | `ResourceExhausted` | overload |
    /// | `Unknown`, `Internal`, `Unimplemented`, `DataLoss` | permanent |
    /// | others | ignored: the caller's own |
    ///
    /// `grpc-retry-pushback-ms` is the server's wish; where it is negative or no number, the class is permanent.
    ///
    /// A status with a `source()` was not sent by the server: the transport made it of an error of its own. A connection that
    /// was refused is transient, and a [`Rejection`](crate::Rejection) inside as it says. Any other is uncertain, whatever its
    /// code: a connection that broke (`Unknown`, `Internal`), a timeout of the channel (`Cancelled`).
    fn classify(&self) -> Class {
        if let Some(source) = self.source() {
            let known = Class::found_in(source);
            if let Some(known @ (Class::NotExecuted { .. } | Class::TRANSIENT)) = known {
                return known;
            }
            let is_of_transport = matches!(
                self.code(),
                Code::Unknown | Code::Internal | Code::Cancelled | Code::Unavailable | Code::DeadlineExceeded
            );
            if is_of_transport {
                return Class::UNCERTAIN;
            }
        }
        let pushback = self.metadata().get("grpc-retry-pushback-ms");
        let wish = pushback.map(|wish| wish.to_str().ok()?.trim().parse().ok().map(Duration::from_millis));
        let retry_after = match wish {
            Some(None) => return Class::Permanent,
            Some(wish) => wish,
            None => None,
        };
        match self.code() {
            Code::Aborted => Class::Transient { retry_after },
            Code::Unavailable | Code::DeadlineExceeded => Class::Uncertain { retry_after },
            Code::ResourceExhausted => Class::Overload { retry_after },
            Code::Unknown | Code::Internal | Code::Unimplemented | Code::DataLoss => Class::Permanent,
            _ => Class::Ignored,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};
    use std::time::Duration;

    use tonic::metadata::MetadataMap;
    use tonic::{Code, Status};

    use crate::rejection::{Rejection, RejectionKind};
    use crate::{Class, Classify as _};

    #[test]
    fn a_status_of_grpc_is_retried_where_its_code_allows_it() {
        // T33
        let class = |code| Status::new(code, "").classify();
        assert_eq!(class(Code::Aborted), Class::TRANSIENT);
        assert_eq!(class(Code::Unavailable), Class::UNCERTAIN);
        assert_eq!(class(Code::DeadlineExceeded), Class::UNCERTAIN);
        assert_eq!(class(Code::ResourceExhausted), Class::Overload { retry_after: None });
        for code in [Code::Unknown, Code::Internal, Code::Unimplemented, Code::DataLoss] {
            assert_eq!(class(code), Class::Permanent, "{code:?}");
        }
        for code in [Code::NotFound, Code::InvalidArgument, Code::Unauthenticated, Code::Cancelled] {
            assert_eq!(class(code), Class::Ignored, "{code:?}");
        }
    }

    #[test]
    fn pushback_says_when_or_not_at_all() {
        let class = |wish: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-retry-pushback-ms", wish.parse().unwrap());
            Status::with_metadata(Code::Unavailable, "", metadata).classify()
        };
        assert_eq!(class("1500"), Class::Uncertain { retry_after: Some(Duration::from_millis(1500)) });
        assert_eq!(class("-1"), Class::Permanent);
        assert_eq!(class("soon"), Class::Permanent);
    }

    #[test]
    fn what_is_inside_is_found() {
        let of = |error: Box<dyn std::error::Error + Send + Sync>| Status::from_error(error).classify();
        let open = Rejection::new(RejectionKind::CircuitOpen, "db");
        assert_eq!(of(open.into()), Class::NotExecuted { retry_after: None });
        let mut refused = Status::unavailable("nobody there");
        refused.set_source(std::sync::Arc::new(Error::from(ErrorKind::ConnectionRefused)));
        assert_eq!(refused.classify(), Class::TRANSIENT);
        // E6: the transport's own, and no word of the server's.
        assert_eq!(of("h2 protocol error".into()), Class::UNCERTAIN);
        let mut timed_out = Status::cancelled("Timeout expired");
        timed_out.set_source(std::sync::Arc::new(Error::other("Timeout expired")));
        assert_eq!(timed_out.classify(), Class::UNCERTAIN);
    }
}
