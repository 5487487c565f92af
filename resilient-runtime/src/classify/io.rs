//! `Classify` for `std::io::Error`.

use std::io::{Error, ErrorKind};

use super::{Class, Classify, found};
use crate::classify::Judgement;

/// What the kind of an [`Error`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByKind {
    /// This, unless the error holds a refusal.
    Known(Class),
    /// This, unless the error holds one that says more.
    Otherwise(Class),
}

impl ByKind {
    pub(super) fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::NotConnected
            | ErrorKind::ResourceBusy => Self::Known(Class::TRANSIENT),
            // A blocking read that times out is `WouldBlock` on Unix.
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::TimedOut
            | ErrorKind::WouldBlock
            | ErrorKind::UnexpectedEof
            // Found only once some of it was written.
            | ErrorKind::WriteZero
            | ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::FileTooLarge => Self::Known(Class::UNCERTAIN),
            ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::AddrInUse
            | ErrorKind::AddrNotAvailable
            | ErrorKind::AlreadyExists
            | ErrorKind::InvalidInput
            | ErrorKind::Unsupported
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::DirectoryNotEmpty
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::StaleNetworkFileHandle
            | ErrorKind::NotSeekable
            | ErrorKind::ExecutableFileBusy
            | ErrorKind::CrossesDevices
            | ErrorKind::TooManyLinks
            | ErrorKind::InvalidFilename
            | ErrorKind::ArgumentListTooLong => Self::Known(Class::Permanent),
            // What came cannot be read: it would not help to ask again, but the request was sent.
            ErrorKind::InvalidData => Self::Otherwise(Class::UNCERTAIN),
            _ => Self::Otherwise(Class::UNKNOWN),
        }
    }
}

impl Classify for Error {
    /// Not sent: transient. Refused by the system: permanent. Broken on the way or cut off: uncertain. A
    /// [`Rejection`](crate::Rejection) or another known cause inside: as it says. Else: unknown.
    fn classify(&self) -> Class {
        self.__judged().class().unwrap_or(Class::UNKNOWN)
    }

    fn __judged(&self) -> Judgement {
        found(self).unwrap_or(Judgement::UNKNOWN)
    }
}
