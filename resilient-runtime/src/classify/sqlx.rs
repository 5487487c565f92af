//! `Classify` for `sqlx`.

use sqlx::Error;
use sqlx::error::{DatabaseError, ErrorKind};

use super::{Class, Classify, found};

impl Classify for Error {
    /// What the database rolled back because of other transactions (SQLSTATE 40001, 40P01): transient; so is a pool without
    /// a connection. A violated constraint and a row that is not there: ignored. Too many connections: overload. A statement
    /// that is wrong: permanent. Broken off: uncertain, and by the cause where it is one of the network. An answer that
    /// cannot be read: uncertain, as the statement was carried out. Else: unknown.
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

/// By its SQLSTATE, or its code of `SQLite`.
pub(super) fn of_database(error: &dyn DatabaseError) -> Class {
    if !matches!(error.kind(), ErrorKind::Other) {
        return Class::Ignored;
    }
    let code = error.code();
    match code.as_deref() {
        // Serialization failure, deadlock, lock not available; not connected; not yet, or no longer, open. And SQLite: busy
        // and locked, with their extended codes.
        Some(
            "40001" | "40P01" | "55P03" | "08001" | "08004" | "57P03" | "5" | "261" | "517" | "773" | "6"
            | "262" | "518",
        ) => Class::TRANSIENT,
        Some(code) if code.starts_with("53") => Class::Overload { retry_after: None },
        Some(code) if code.starts_with("23") || code == "40002" => Class::Ignored,
        // What the statement says is wrong, or not allowed.
        Some(code) if code.len() == 5 && (code.starts_with("22") || code.starts_with("42")) => {
            Class::Permanent
        }
        // Broken off, cancelled, or not known to be complete.
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
    fn what_the_database_rolled_back_is_transient_and_a_violated_constraint_is_an_answer() {
        // B1, T33
        for code in ["40001", "40P01", "55P03", "57P03", "5", "517"] {
            assert_eq!(database(code).classify(), Class::TRANSIENT, "{code}");
        }
        assert_eq!(Error::from(Failed("23505", || ErrorKind::UniqueViolation)).classify(), Class::Ignored);
        assert_eq!(database("23514").classify(), Class::Ignored);
        assert_eq!(database("42601").classify(), Class::Permanent);
        assert_eq!(database("53300").classify(), Class::Overload { retry_after: None });
        for code in ["08006", "08007", "57P01", "57014", "40003"] {
            assert_eq!(database(code).classify(), Class::UNCERTAIN, "{code}");
        }
        assert_eq!(database("XX000").classify(), Class::UNKNOWN);
    }

    #[test]
    fn an_error_of_the_client_is_judged_by_when_it_happened() {
        // B1
        assert_eq!(Error::RowNotFound.classify(), Class::Ignored);
        assert_eq!(Error::PoolTimedOut.classify(), Class::TRANSIENT);
        assert_eq!(Error::PoolClosed.classify(), Class::NotExecuted { retry_after: None });
        assert_eq!(Error::Io(io::ErrorKind::ConnectionRefused.into()).classify(), Class::TRANSIENT);
        assert_eq!(Error::Io(io::ErrorKind::ConnectionReset.into()).classify(), Class::UNCERTAIN);
        assert_eq!(Error::Decode("no number".into()).classify(), Class::UNCERTAIN);
        assert_eq!(Error::Encode("no number".into()).classify(), Class::Permanent);
    }

    #[test]
    fn it_is_found_in_other_errors_also_where_they_are_transparent() {
        // B2
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
        assert_eq!(class(Store::Transparent(Error::RowNotFound)), None, "it has no source");
    }
}
