//! Checks idempotency by key.

use quote::ToTokens;
use resilient_options::idempotency;
use syn::{Expr, ExprLit, Lit};

use super::has_hole;
use super::settings::{duration, find, total, usual};
use crate::args::Value;
use crate::args::{Args, Once};
use crate::diag::Errors;
use crate::item::FnItem;
use crate::shape::Shape;

const LONGEST_KEY: usize = 1024;

pub(super) fn check(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    let Some(once) = &args.once else { return };
    key_length(once, errors);
    if once.transaction.is_some() {
        transaction_fits(args, once, shape, errors);
    } else {
        lease_is_long_enough(args, once, errors);
    }
    if let (Some(hedge), false) = (&args.hedge, reexecutes(once)) {
        errors.at(
            &hedge.key,
            "`hedge` can run the body twice at the same time; if that has the same effect as running it once, write \
             `idempotent(.., on_unknown = reexecute)`",
        );
    }
    if has_hole(&shape.attempt_type(function)) {
        errors.at(
            &once.policy.key,
            "`idempotent` needs a concrete return type, but this function returns an `impl Trait`; write out the type",
        );
    }
    if shape.has_before() && once.fingerprint.is_none() && !function.sig.inputs.is_empty() {
        errors.at(
            &once.policy.key,
            "the statements before the `async` block may consume the arguments, so they cannot be hashed by default; set \
             `fingerprint = (id, cents)` to the values to compare, or `fingerprint = none` if the key is sufficient",
        );
    }
}

fn reexecutes(once: &Once) -> bool {
    matches!(find(&once.policy, "on_unknown"), Some((Value::Text(word), _)) if word == "reexecute")
}

/// Reports arguments that cannot work in a transaction of the caller.
fn transaction_fits(args: &Args, once: &Once, shape: &Shape, errors: &mut Errors) {
    let Some(transaction) = &once.transaction else { return };
    if !shape.is_async() {
        errors.at(
            &transaction.key,
            "`transaction` needs an `async fn`: the record is written by an asynchronous database connection",
        );
    }
    if find(&once.policy, "store").is_none() {
        errors.at(
            &transaction.key,
            "`transaction` needs a store that can join the transaction, as in `idempotent(.., store = \"orders\")` with a \
             `PostgresStore`",
        );
    }
    let repeats = "cannot repeat a part of a transaction, which must be rolled back after an error; move it to the function that \
                   begins and commits the transaction";
    let replaces = "replaces an error, so the caller would commit a transaction that must be rolled back; move it to the function \
                    that begins and commits the transaction";
    let shares = "shares a result before its transaction has committed; move it to the function that begins and commits the \
                  transaction";
    let threads = "runs the body in another thread, which cannot use the transaction; remove `threads`";
    for (argument, why) in [
        (args.retry.as_ref().map(|retry| &retry.policy.key), repeats),
        (args.hedge.as_ref().map(|hedge| &hedge.key), repeats),
        (args.coalesce.as_ref().map(|coalesce| &coalesce.policy.key), shares),
        (args.keys.iter().find(|key| *key == "fallback"), replaces),
        (args.threads().and(args.bulkhead.as_ref()).map(|bulkhead| &bulkhead.key), threads),
    ] {
        if let Some(argument) = argument {
            errors.at(argument, format!("with `idempotent(transaction = ..)`, `{argument}` {why}"));
        }
    }
    for option in ["lease", "on_store_failure"] {
        if let Some((_, span)) = find(&once.policy, option) {
            errors.span(
                span,
                format!("`{option}` has no effect with `transaction`: the claim is part of the transaction; remove it"),
            );
        }
    }
}

/// Checks a key that is a string literal.
fn key_length(once: &Once, errors: &mut Errors) {
    let Expr::Lit(ExprLit { lit, .. }) = &once.by.value else { return };
    let Lit::Str(text) = lit else { return };
    if text.value().is_empty() {
        errors.at(text, "the key is empty, so every call would be rejected");
    } else if text.value().len() > LONGEST_KEY {
        errors.at(text, format!("the key is too long; the maximum is {LONGEST_KEY} bytes"));
    }
}

/// Checks that no other call can take the key while the first one may still run (T127).
fn lease_is_long_enough(args: &Args, once: &Once, errors: &mut Errors) {
    let given = duration(&once.policy, "lease");
    let Some(timeout) = &args.timeout else { return };
    // A named timeout without a total gets its limit elsewhere.
    if timeout.name.is_some() && find(timeout, "total").is_none() {
        return;
    }
    // Without a total, only the renewal of the lease keeps the key.
    let Some(total) = total(timeout) else { return };
    let lease = given.map_or_else(|| usual(&idempotency::TABLE, "lease"), |(lease, _)| lease);
    if lease >= total {
        return;
    }
    match given {
        Some((_, span)) => errors.span(
            span,
            "the lease is shorter than the total timeout (60 s by default), so another call could take the key while this \
             one is still running; use a longer lease or a shorter total",
        ),
        None => errors.at(
            timeout.key.to_token_stream(),
            "the total timeout is longer than the lease of the key (60 s by default); use a longer lease, as in \
             `idempotent(.., lease = \"5m\")`",
        ),
    }
}
