//! `Classify` for `tonic`.

use std::error::Error as _;

use tonic::Code;
use tonic::metadata::MetadataValue;

use super::{Class, Classify};
use crate::classify::Judgement;

impl Classify for tonic::Status {
    /// Classifies a status by its code, as [`Judgement::of_grpc`] does.
    ///
    /// A status with a `source()` was not sent by the server, but created from an error of the transport. A refused
    /// connection is transient, and a [`Rejection`](crate::Rejection) determines the class itself. Other transport
    /// errors are uncertain, such as a broken connection (`Unknown`, `Internal`) or a timeout of the channel
    /// (`Cancelled`).
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
        // `Ok` is not an error, but a `Status` can have this code.
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
    fn a_status_is_classified_by_its_code() {
        // T33
        let class = |code| Status::new(code, "").classify();
        assert_eq!(class(Code::Aborted), Class::TRANSIENT);
        assert_eq!(class(Code::Unavailable), Class::UNCERTAIN);
        assert_eq!(class(Code::DeadlineExceeded), Class::UNCERTAIN);
        assert_eq!(class(Code::ResourceExhausted), Class::Overload { retry_after: None });
        // The call may have been executed.
        for code in [Code::Unknown, Code::Internal, Code::DataLoss, Code::Cancelled] {
            assert_eq!(class(code), Class::UNCERTAIN, "{code:?}");
        }
        assert_eq!(class(Code::Unimplemented), Class::Permanent);
        for code in [Code::NotFound, Code::InvalidArgument, Code::Unauthenticated] {
            assert_eq!(class(code), Class::Ignored, "{code:?}");
        }
    }

    #[test]
    fn pushback_delays_or_forbids_a_retry() {
        let judged = |code, wish: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-retry-pushback-ms", wish.parse().unwrap());
            Status::with_metadata(code, "", metadata).__judged()
        };
        let later = Class::Uncertain { retry_after: Some(Duration::from_millis(1500)) };
        assert_eq!(judged(Code::Unavailable, "1500"), Judgement::from(later));
        // A pushback that forbids a retry does not mean that nothing was executed.
        for stop in ["-1", "soon"] {
            let uncertain = Judgement::from(Class::UNCERTAIN);
            assert_eq!(judged(Code::Unavailable, stop), uncertain.retry_when(false));
            assert_eq!(judged(Code::NotFound, stop), Judgement::from(Class::Ignored).retry_when(false));
        }
    }

    #[test]
    fn the_cause_inside_a_status_is_found() {
        let of = |error: Box<dyn std::error::Error + Send + Sync>| Status::from_error(error).classify();
        let open = Rejection::new(RejectionKind::CircuitOpen, "db");
        assert_eq!(of(open.into()), Class::NotExecuted { retry_after: None });
        let mut refused = Status::unavailable("no server");
        refused.set_source(std::sync::Arc::new(Error::from(ErrorKind::ConnectionRefused)));
        assert_eq!(refused.classify(), Class::TRANSIENT);
        // An error of the transport, not of the server.
        assert_eq!(of("h2 protocol error".into()), Class::UNCERTAIN);
        let mut timed_out = Status::cancelled("Timeout expired");
        timed_out.set_source(std::sync::Arc::new(Error::other("Timeout expired")));
        assert_eq!(timed_out.classify(), Class::UNCERTAIN);
    }
}
