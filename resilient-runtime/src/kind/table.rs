//! The one list of all components.

/// Calls the macro `$generate` with the rows of the table: of the `stages`, of the components that also work `standalone`,
/// without a registry, or of `all`.
///
/// The stages stand in the order of a call, outer to inner. The columns:
/// 1. the [`Kind`](crate::Kind);
/// 2. its name in the attribute, in JSON, in settings, in metrics and in the builder;
/// 3. the method of the registry that gives the component of a name;
/// 4. the module, the component in it, and the component's snapshot;
/// 5. the method of the registry that makes one: `alone` of its core, or with other parts of the registry.
macro_rules! components {
    ($select:ident $generate:ident) => {
        $crate::kind::table::select! { $select $generate {
            Fallback        fallback         fallback         fallback::{Fallback, Stats}               alone;
            Coalesce        coalesce         coalesce         coalesce::{Coalesce, Stats}               alone;
            Timeout         timeout          timeout          timeout::{Timeout, Stats}                 alone;
            LoadShed        load_shed        load_shedder     load_shed::{LoadShedder, Stats}           alone;
            Idempotency     idempotency      idempotency      idempotency::{Idempotency, Stats}         with_stores;
            Retry           retry            retry            retry::{Retry, Stats}                     with_budget;
            Hedge           hedge            hedge            hedge::{Hedge, Stats}                     alone;
            CircuitBreaker  circuit_breaker  circuit_breaker  circuit_breaker::{CircuitBreaker, Stats}  alone;
            RateLimit       rate_limit       rate_limiter     rate_limit::{RateLimiter, Stats}          alone;
            Bulkhead        bulkhead         bulkhead         bulkhead::{Bulkhead, Stats}               alone;
        } {
            RetryBudget     retry_budget     retry_budget     budget::{RetryBudget, Stats}                alone;
            Health          health           health           health::{HealthCheck, Stats}              alone;
        } {
            Alert           alert            alert            alert::{Alert, Stats}                     alone;
            ConfigSource    config_source    config_source    config::{Source, Stats}                   alone;
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
