//! `Classify` for `tonic`.

use std::error::Error as _;

use tonic::Code;
use tonic::metadata::MetadataValue;

use super::{Class, Classify};
use crate::classify::Judgement;

impl Classify for tonic::Status {
    /// The class of its code, as [`Judgement::of_grpc`] has it.
    ///
    /// A status with a `source()` was not sent by the server: the transport made it of an error of its own. A connection that
    /// was refused is transient, and a [`Rejection`](crate::Rejection) inside as it says. Any other is uncertain, whatever its
    /// code: a connection that broke (`Unknown`, `Internal`), a timeout of the channel (`Cancelled`).
    fn classify(&self) -> Class {
        self.__judged().class().unwrap_or(Class::UNKNOWN)
    }

    fn __judged(&self) -> Judgement {
        if let Some(source) = self.source() {
            let known = Judgement::found_in(source);
            let is_known = |class| matches!(class, Class::NotExecuted { .. } | Class::TRANSIENT);
            if let Some(known) = known.filter(|known| known.class().is_some_and(is_known)) {
                return known;
            }
            let is_of_transport = matches!(
                self.code(),
                Code::Unknown | Code::Internal | Code::Cancelled | Code::Unavailable | Code::DeadlineExceeded
            );
            if is_of_transport {
                return Class::UNCERTAIN.into();
            }
        }
        let pushback = self.metadata().get("grpc-retry-pushback-ms");
        // `Ok` is no error, though a `Status` can be made of it.
        match self.code() {
            Code::Ok => Class::Ignored.into(),
            code => Judgement::of_grpc(code.into(), pushback.map(MetadataValue::as_encoded_bytes)),
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
    use crate::{Class, Classify as _, Judgement};

    #[test]
    fn a_status_of_grpc_is_retried_where_its_code_allows_it() {
        // T33
        let class = |code| Status::new(code, "").classify();
        assert_eq!(class(Code::Aborted), Class::TRANSIENT);
        assert_eq!(class(Code::Unavailable), Class::UNCERTAIN);
        assert_eq!(class(Code::DeadlineExceeded), Class::UNCERTAIN);
        assert_eq!(class(Code::ResourceExhausted), Class::Overload { retry_after: None });
        // B1: it may have been carried out.
        for code in [Code::Unknown, Code::Internal, Code::DataLoss, Code::Cancelled] {
            assert_eq!(class(code), Class::UNCERTAIN, "{code:?}");
        }
        assert_eq!(class(Code::Unimplemented), Class::Permanent);
        for code in [Code::NotFound, Code::InvalidArgument, Code::Unauthenticated] {
            assert_eq!(class(code), Class::Ignored, "{code:?}");
        }
    }

    #[test]
    fn pushback_says_when_or_not_at_all() {
        let judged = |code, wish: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-retry-pushback-ms", wish.parse().unwrap());
            Status::with_metadata(code, "", metadata).__judged()
        };
        let later = Class::Uncertain { retry_after: Some(Duration::from_millis(1500)) };
        assert_eq!(judged(Code::Unavailable, "1500"), Judgement::from(later));
        // B1: that it is not to be repeated does not say that nothing was done.
        for stop in ["-1", "soon"] {
            let uncertain = Judgement::from(Class::UNCERTAIN);
            assert_eq!(judged(Code::Unavailable, stop), uncertain.retry_when(false));
            assert_eq!(judged(Code::NotFound, stop), Judgement::from(Class::Ignored).retry_when(false));
        }
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
