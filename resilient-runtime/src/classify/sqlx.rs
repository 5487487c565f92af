//! `Classify` for `sqlx`.

use sqlx::Error;
use sqlx::error::{DatabaseError, ErrorKind};

use super::{Class, Classify, found};

impl Classify for Error {
    /// Classifies an error of `sqlx`.
    ///
    /// | error | class |
    /// |---|---|
    /// | serialization failure (SQLSTATE 40001), deadlock (40P01), lock not available, database not open or read-only, `SQLite` busy or locked | transient |
    /// | timeout while waiting for a connection of the pool | transient |
    /// | closed pool | not executed |
    /// | insufficient resources, such as too many connections (SQLSTATE class 53) | overload |
    /// | violated constraint, row not found | ignored |
    /// | invalid or forbidden statement, invalid argument, refused login, unknown database | permanent |
    /// | I/O error | by its kind |
    /// | configuration or TLS error | by its cause, otherwise permanent |
    /// | connection lost, statement cancelled, outcome not known | uncertain |
    /// | response that cannot be decoded, because the statement was executed | uncertain |
    /// | others | unknown |
    fn classify(&self) -> Class {
        match self {
            Self::Database(error) => of_database(&**error),
            Self::Io(error) => error.classify(),
            Self::RowNotFound => Class::Ignored,
            Self::PoolTimedOut => Class::TRANSIENT,
            Self::PoolClosed => Class::NotExecuted { retry_after: None },
            Self::Configuration(cause) | Self::Tls(cause) => {
                found(&**cause).and_then(crate::Judgement::class).unwrap_or(Class::Permanent)
            }
            Self::InvalidArgument(_) | Self::Encode(_) | Self::InvalidSavePointStatement => Class::Permanent,
            Self::Protocol(_)
            | Self::TypeNotFound { .. }
            | Self::ColumnIndexOutOfBounds { .. }
            | Self::ColumnNotFound(_)
            | Self::ColumnDecode { .. }
            | Self::Decode(_)
            | Self::WorkerCrashed
            | Self::BeginFailed => Class::UNCERTAIN,
            _ => Class::UNKNOWN,
        }
    }
}

/// Classifies an error of the database by its SQLSTATE or `SQLite` code.
pub(super) fn of_database(error: &dyn DatabaseError) -> Class {
    if !matches!(error.kind(), ErrorKind::Other) {
        return Class::Ignored;
    }
    let code = error.code();
    match code.as_deref() {
        // Serialization failure, deadlock, lock not available; not connected; database not accepting connections; read-only,
        // which ends when the address leads to the primary.
        // SQLite: busy and locked, with their extended codes.
        Some(
            "40001" | "40P01" | "55P03" | "08001" | "08004" | "57P03" | "25006" | "5" | "261" | "517" | "773"
            | "6" | "262" | "518",
        ) => Class::TRANSIENT,
        Some(code) if code.starts_with("53") => Class::Overload { retry_after: None },
        Some(code) if code.starts_with("23") || code == "40002" => Class::Ignored,
        // The statement is invalid or not allowed.
        Some(code)
            if code.len() == 5 && ["22", "28", "3D", "42"].iter().any(|class| code.starts_with(class)) =>
        {
            Class::Permanent
        }
        // Connection lost, statement cancelled, or completion not known.
        Some(code) if code.starts_with("08") || code.starts_with("57") || code == "40003" => Class::UNCERTAIN,
        _ => Class::UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::fmt;
    use std::io;

    use sqlx::Error;
    use sqlx::error::{DatabaseError, ErrorKind};

    use crate::{Class, Classify as _};

    #[derive(Debug)]
    struct Failed(&'static str, fn() -> ErrorKind);

    impl fmt::Display for Failed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Failed {}

    impl DatabaseError for Failed {
        fn message(&self) -> &str {
            self.0
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            (self.1)()
        }
    }

    fn database(code: &'static str) -> Error {
        Error::from(Failed(code, || ErrorKind::Other))
    }

    #[test]
    fn database_errors_are_classified_by_their_code() {
        // T33
        for code in ["40001", "40P01", "55P03", "57P03", "25006", "5", "517"] {
            assert_eq!(database(code).classify(), Class::TRANSIENT, "{code}");
        }
        assert_eq!(Error::from(Failed("23505", || ErrorKind::UniqueViolation)).classify(), Class::Ignored);
        assert_eq!(database("23514").classify(), Class::Ignored);
        for code in ["42601", "22012", "28P01", "3D000"] {
            assert_eq!(database(code).classify(), Class::Permanent, "{code}");
        }
        assert_eq!(database("53300").classify(), Class::Overload { retry_after: None });
        for code in ["08006", "08007", "57P01", "57014", "40003"] {
            assert_eq!(database(code).classify(), Class::UNCERTAIN, "{code}");
        }
        assert_eq!(database("XX000").classify(), Class::UNKNOWN);
    }

    #[test]
    fn client_errors_are_classified_by_whether_the_statement_was_sent() {
        assert_eq!(Error::RowNotFound.classify(), Class::Ignored);
        assert_eq!(Error::PoolTimedOut.classify(), Class::TRANSIENT);
        assert_eq!(Error::PoolClosed.classify(), Class::NotExecuted { retry_after: None });
        assert_eq!(Error::Io(io::ErrorKind::ConnectionRefused.into()).classify(), Class::TRANSIENT);
        assert_eq!(Error::Io(io::ErrorKind::ConnectionReset.into()).classify(), Class::UNCERTAIN);
        assert_eq!(Error::Decode("no number".into()).classify(), Class::UNCERTAIN);
        assert_eq!(Error::Encode("no number".into()).classify(), Class::Permanent);
    }

    #[test]
    fn it_is_found_in_the_source_chain_of_other_errors() {
        #[derive(Debug, thiserror::Error)]
        enum Store {
            #[error("the store: {0}")]
            Plain(#[source] Error),
            #[error(transparent)]
            Transparent(Error),
        }
        let class = |error: Store| Class::found_in(&error);
        assert_eq!(class(Store::Plain(Error::RowNotFound)), Some(Class::Ignored));
        assert_eq!(class(Store::Plain(database("40001"))), Some(Class::TRANSIENT));
        assert_eq!(class(Store::Transparent(database("40001"))), Some(Class::TRANSIENT));
        assert_eq!(class(Store::Transparent(Error::RowNotFound)), None, "the error has no source");
    }
}
