//! The store in the transaction of an annotated function: `idempotent(transaction = tx)`.

use std::any::Any;
use std::time::Duration;

use resilient_runtime::idempotency::{Answer, Claim, Claimed, Owner, StoreError, TransactionalStore};
use sqlx::postgres::PgConnection;

use crate::claim_error::ClaimError;
use crate::operation::Session;
use crate::store::{LARGEST_RESULT, PostgresStore, too_large};
use crate::transaction::{claim_in, complete_in};

/// When to try again after another transaction did not end in time.
const LATER: Duration = Duration::from_secs(1);

impl TransactionalStore for PostgresStore {
    fn claim_in<'a>(
        &'a self,
        connection: &'a mut (dyn Any + Send),
        claim: Claim,
        max_wait: Duration,
    ) -> Answer<'a, Claimed> {
        self.expire_if_due();
        Box::pin(async move {
            let tx = postgres(&self.session, connection)?;
            match claim_in(&self.session, tx, &claim, max_wait).await {
                Err(ClaimError::Busy { .. }) => Ok(Claimed::InProgress { retry_after: LATER }),
                claimed => claimed.map_err(|error| failed(&self.session, &error)),
            }
        })
    }

    fn complete_in<'a>(
        &'a self,
        connection: &'a mut (dyn Any + Send),
        key: &'a str,
        owner: Owner,
        answer: Vec<u8>,
        ttl: Duration,
    ) -> Answer<'a, bool> {
        Box::pin(async move {
            if answer.len() > LARGEST_RESULT {
                return Err(self.session.error(&too_large(answer.len())));
            }
            let tx = postgres(&self.session, connection)?;
            let completed = complete_in(&self.session, tx, (key, owner), &answer, ttl).await;
            completed.map_err(|error| failed(&self.session, &error))
        })
    }
}

fn postgres<'a>(
    session: &Session,
    connection: &'a mut (dyn Any + Send),
) -> Result<&'a mut PgConnection, StoreError> {
    connection.downcast_mut().ok_or_else(|| {
        session.error(
            "the transaction belongs to another kind of database: pass a `sqlx::Transaction<'_, sqlx::Postgres>` of the \
             database that has the table",
        )
    })
}

fn failed(session: &Session, error: &ClaimError) -> StoreError {
    match error {
        // Its text names the store.
        ClaimError::Database { .. } | ClaimError::Schema(_) => StoreError::Unavailable(error.to_string()),
        error => session.error(&error.to_string()),
    }
}
