//! Creates and updates the tables.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Error, Row as _};

use crate::names::Names;
use crate::operation::Session;
use crate::problem;
use crate::sql::VERSION;

/// How long the migrations may take.
const LIMIT: Duration = Duration::from_mins(5);

/// The files, in the order of their versions.
const FILES: [&str; 2] =
    [include_str!("../migrations/0001_create.sql"), include_str!("../migrations/0002_replica.sql")];

/// Another instance that migrates at the same time waits for this lock.
const LOCK: i64 = 0x7265_7369_6c69_656e;

/// The text of all files.
pub(crate) fn all(names: &Names) -> String {
    FILES.map(|file| names.applied_to(file)).join("\n")
}

/// Applies the files that the database does not have. Returns the problem with its remedy.
pub(crate) async fn apply(session: Session) -> Result<(), String> {
    match tokio::time::timeout(LIMIT, migrate(&session)).await {
        Ok(applied) => applied,
        Err(_) => Err(format!(
            "the migrations did not end within {LIMIT:?}: check which transaction locks the tables"
        )),
    }
    .map_err(|problem| session.describe(&problem))
}

async fn migrate(session: &Session) -> Result<(), String> {
    let names = session.names();
    let described = |error: Error| match error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .as_deref()
    {
        Some("42P07") => format!(
            "a table or index with the name of `{}` exists and does not belong to this version of resilient-postgres: \
             remove it, or set another `table`",
            names.shown
        ),
        Some("42501") => {
            format!(
                "the user may not create tables in the schema `{}`: run the migrations as its owner",
                names.schema
            )
        }
        _ => problem::of(&error, names),
    };
    let mut connection = PgConnection::connect_with(session.options()).await.map_err(described)?;
    // Everything in one transaction. It is rolled back when the connection is dropped.
    let mut transaction = connection.begin().await.map_err(described)?;
    let applied = applied(&mut transaction, names).await.map_err(described)?;
    let known = usize::try_from(VERSION).unwrap_or(FILES.len());
    let applied = match applied {
        None => 0,
        Some(version) if version > VERSION => return Err(problem::of_version(Some(version), names)),
        Some(version) => usize::try_from(version).unwrap_or(0),
    };
    for file in FILES.iter().take(known).skip(applied) {
        run(&mut transaction, names.applied_to(file)).await.map_err(described)?;
    }
    transaction.commit().await.map_err(described)
}

/// The version of the tables, if they exist. Other instances wait until the transaction ends.
async fn applied(connection: &mut PgConnection, names: &Names) -> Result<Option<i32>, Error> {
    run(connection, format!("SELECT pg_advisory_xact_lock({LOCK})")).await?;
    let (schema, versions) = (&names.schema, &names.versions);
    // `IF NOT EXISTS` would need the right to create schemas.
    let found = format!(
        "SELECT to_regnamespace('{schema}') IS NULL AS needs_schema, to_regclass('{versions}') IS NOT NULL AS is_there"
    );
    let found = sqlx::raw_sql(AssertSqlSafe(found)).fetch_one(&mut *connection).await?;
    if found.try_get("needs_schema")? {
        run(connection, format!("CREATE SCHEMA \"{schema}\"")).await?;
    }
    if !found.try_get::<bool, _>("is_there")? {
        return Ok(None);
    }
    let version = format!("SELECT max(version) AS version FROM {versions}");
    let version = sqlx::raw_sql(AssertSqlSafe(version)).fetch_one(connection).await?;
    version.try_get("version")
}

async fn run(connection: &mut PgConnection, statements: String) -> Result<(), Error> {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await.map(drop)
}
