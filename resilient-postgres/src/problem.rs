//! Texts that describe a failure and its remedy.

use std::io::ErrorKind;

use sqlx::Error;
use sqlx::error::DatabaseError;

use crate::names::Names;
use crate::sql::VERSION;

/// The error with its remedy. It contains no password: the server and `sqlx` do not return it.
pub(crate) fn of(error: &Error, names: &Names) -> String {
    if let Error::Io(io) = error
        && matches!(io.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound)
    {
        return "the connection was refused: check that the server runs and the address is right".to_owned();
    }
    let code = error.as_database_error().and_then(DatabaseError::code).unwrap_or_default().into_owned();
    let table = &names.shown;
    let remedy = match (&*code, error) {
        ("28P01" | "28000", _) => "the server refused the login: check the user and the password".to_owned(),
        ("3D000", _) => "the database does not exist: check its name in the URL".to_owned(),
        ("42P01" | "3F000", _) => missing_schema(names, &error.to_string()),
        // The function that an earlier server does not have.
        ("42883", error) if error.to_string().contains("bit_xor") => OLD_SERVER.to_owned(),
        ("42703" | "42883" | "42804", _) => format!(
            "the table `{table}` does not have the columns of schema version {VERSION}: check whether another program has \
             created it, and set another `table`"
        ),
        ("42501", _) => missing_right(names),
        ("25006", _) => {
            "the server is read-only: use the address of the primary, and check `default_transaction_read_only`"
                .to_owned()
        }
        ("55P03", _) => "another transaction uses the record for longer than the time limit: keep transactions with \
                         `claim_in` short, or set a longer `timeout`"
            .to_owned(),
        ("57014", _) => "the server cancelled the statement at its time limit: check the load of the server, or set a \
                         longer `timeout`"
            .to_owned(),
        ("53300", _) => "the server has too many connections: raise `max_connections`, or use fewer `connections` or \
                         pgbouncer"
            .to_owned(),
        ("53100" | "53200", _) => "the disk or the memory of the server is full: check it".to_owned(),
        ("57P03", _) => "the server is starting or stopping: wait until it has started".to_owned(),
        ("40001" | "40P01", _) => {
            "another transaction changed the record at the same time: repeat the transaction".to_owned()
        }
        (code, _) if code.starts_with("57P") => "the server was stopped: check that it runs".to_owned(),
        (code, _) if code.starts_with("08") => {
            "the connection was refused or lost: check the server, or the log of pgbouncer".to_owned()
        }
        (_, Error::Tls(_)) => "the encrypted connection was refused: check `sslmode` and the certificates, and enable the \
                               feature `tls`"
            .to_owned(),
        (_, Error::Io(io)) if io.to_string().contains("invalid peer certificate") => {
            "the certificate of the server is not trusted: set `sslrootcert` to its authority, and check the host name in \
             the URL"
                .to_owned()
        }
        (_, Error::Protocol(_)) => "the response is not the PostgreSQL protocol: check that the address and port belong to \
                                    a PostgreSQL server"
            .to_owned(),
        (_, Error::Io(_)) => "the connection was lost: check the network and the server".to_owned(),
        _ => "the server reported an error".to_owned(),
    };
    format!("{remedy} ({})", shortened(&error.to_string()))
}

/// The problem of a schema of another version.
pub(crate) fn of_version(version: Option<i32>, names: &Names) -> String {
    let (versions, records) = (&names.versions, &names.shown);
    match version {
        Some(newer) if newer > VERSION => format!(
            "the tables have schema version {newer}, this version of resilient-postgres needs {VERSION}: update \
             resilient-postgres in this program"
        ),
        Some(older) => format!(
            "the tables have schema version {older}, this version of resilient-postgres needs {VERSION}: run \
             `PostgresStore::migrate`"
        ),
        None => format!(
            "the table {versions} is empty, so the schema version of `{records}` is not known: run \
             `PostgresStore::migrate` on another `table`, or restore it"
        ),
    }
}

/// The problem of a member of a replica set on a server before [`OLDEST_SERVER`](crate::replica::OLDEST_SERVER).
pub(crate) const OLD_SERVER: &str =
    "a member of a replica set needs PostgreSQL 14 or later: update the server, or use another member";

fn missing_schema(names: &Names, error: &str) -> String {
    let table = &names.shown;
    let later = format!("{table}_replica");
    let (table, reason) = if error.contains(&later) {
        (&later, format!(", because the schema is older than version {VERSION}"))
    } else {
        (table, String::new())
    };
    format!(
        "the table `{table}` does not exist{reason}: run `PostgresStore::migrate` at the start of the program, or the files \
         in `migrations/` by hand"
    )
}

fn missing_right(names: &Names) -> String {
    format!(
        "the user lacks a right: GRANT USAGE ON SCHEMA {}, SELECT, INSERT, UPDATE, DELETE ON {} and {}, and SELECT ON {}",
        names.schema, names.records, names.replicas, names.versions
    )
}

fn shortened(detail: &str) -> &str {
    &detail[..detail.floor_char_boundary(200)]
}

/// Whether the connection cannot be used any longer.
pub(crate) fn is_lost(error: &Error) -> bool {
    match error {
        Error::Database(error) => error.code().is_some_and(|code| {
            // A demoted primary stays connected. The address may belong to another server by now.
            code.starts_with("57P") || code.starts_with("08") || code == "25006"
        }),
        _ => true,
    }
}
