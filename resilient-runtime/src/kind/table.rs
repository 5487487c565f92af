//! The list of all components.

/// Calls the macro `$generate` with rows of the table. `$select` is one of: `stages`; `standalone`, the components that
/// also work without a registry; `all`.
///
/// The stages are in the order of a call, from the outermost to the innermost. The columns:
/// 1. the [`Kind`](crate::Kind);
/// 2. its name in the attribute, JSON, settings, metrics and the builder;
/// 3. the registry method that returns the component with a name;
/// 4. the module, the component and its snapshot;
/// 5. the registry method that creates a component: `alone` from its core only, others with further parts of the
///    registry.
macro_rules! components {
    ($select:ident $generate:ident) => {
        $crate::kind::table::select! { $select $generate {
            Fallback        fallback         fallback         fallback::{Fallback, Stats}               with_cache_stores;
            Coalesce        coalesce         coalesce         coalesce::{Coalesce, Stats}               alone;
            Timeout         timeout          timeout          timeout::{Timeout, Stats}                 alone;
            LoadShed        load_shed        load_shedder     load_shed::{LoadShedder, Stats}           alone;
            Idempotency     idempotency      idempotency      idempotency::{Idempotency, Stats}         with_stores;
            Retry           retry            retry            retry::{Retry, Stats}                     with_budget;
            Hedge           hedge            hedge            hedge::{Hedge, Stats}                     alone;
            CircuitBreaker  circuit_breaker  circuit_breaker  circuit_breaker::{CircuitBreaker, Stats}  with_circuits;
            RateLimit       rate_limit       rate_limiter     rate_limit::{RateLimiter, Stats}          alone;
            Bulkhead        bulkhead         bulkhead         bulkhead::{Bulkhead, Stats}               alone;
        } {
            RetryBudget     retry_budget     retry_budget     budget::{RetryBudget, Stats}                alone;
            Health          health           health           health::{HealthCheck, Stats}              alone;
        } {
            Alert           alert            alert            alert::{Alert, Stats}                     alone;
            ConfigSource    config_source    config_source    config::{Source, Stats}                   alone;
            Store           store            store            store::{Store, Stats}                     with_guard;
        } }
    };
}

macro_rules! select {
    (all $generate:ident { $($stages:tt)* } { $($others:tt)* } { $($of_registry:tt)* }) => {
        $generate! { $($stages)* $($others)* $($of_registry)* }
    };
    (standalone $generate:ident { $($stages:tt)* } { $($others:tt)* } { $($of_registry:tt)* }) => {
        $generate! { $($stages)* $($others)* }
    };
    (stages $generate:ident { $($stages:tt)* } { $($others:tt)* } { $($of_registry:tt)* }) => {
        $generate! { $($stages)* }
    };
}

pub(crate) use {components, select};
