//! `Classify` for `std::io::Error`.

use std::io::{Error, ErrorKind};

use super::{Class, Classify, found};
use crate::classify::Judgement;

/// The class of an [`Error`] by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByKind {
    /// This class, unless the error contains a rejection.
    Known(Class),
    /// This class, unless the error contains another error with a known class.
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
            // Reported only after part of the data was written.
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
            // The response cannot be read, but the request was sent.
            ErrorKind::InvalidData => Self::Otherwise(Class::UNCERTAIN),
            _ => Self::Otherwise(Class::UNKNOWN),
        }
    }
}

impl Classify for Error {
    /// Classifies an I/O error by its kind.
    ///
    /// | error | class |
    /// |---|---|
    /// | nothing was sent, such as connection refused | transient |
    /// | connection broken, timeout, incomplete write, invalid data | uncertain |
    /// | rejected by the operating system, such as permission denied | permanent |
    /// | contains a [`Rejection`](crate::Rejection), or is of another kind and contains a known cause | the class of the rejection or cause |
    /// | others | unknown |
    fn classify(&self) -> Class {
        self.__judged().class().unwrap_or(Class::UNKNOWN)
    }

    fn __judged(&self) -> Judgement {
        found(self).unwrap_or(Judgement::UNKNOWN)
    }
}
