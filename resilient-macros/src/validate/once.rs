//! What of idempotency by key cannot be.

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
    key_is_possible(once, errors);
    lease_is_long_enough(args, once, errors);
    if let (Some(hedge), false) = (&args.hedge, reexecutes(once)) {
        errors.at(
            &hedge.key,
            "`hedge` runs the body twice at the same time; with a key it may only if that has the effect of once: say \
             `idempotent(.., on_unknown = reexecute)`",
        );
    }
    if has_hole(&shape.attempt_type(function)) {
        errors.at(
            &once.policy.key,
            "`idempotent` keeps answers of a type that is written out; this function returns an `impl Trait`",
        );
    }
    if shape.has_before() && once.fingerprint.is_none() && !function.sig.inputs.is_empty() {
        errors.at(
            &once.policy.key,
            "what stands before the `async` block may use the arguments up, so say what tells payloads apart, as in \
             `fingerprint = (id, cents)`, or `fingerprint = none` where the key says it all",
        );
    }
}

fn reexecutes(once: &Once) -> bool {
    matches!(find(&once.policy, "on_unknown"), Some((Value::Text(word), _)) if word == "reexecute")
}

/// A key that is a literal can be looked at; and is the same for all calls.
fn key_is_possible(once: &Once, errors: &mut Errors) {
    let Expr::Lit(ExprLit { lit, .. }) = &once.by.value else { return };
    let Lit::Str(text) = lit else { return };
    if text.value().is_empty() {
        errors.at(text, "the key is empty: each call would be refused");
    } else if text.value().len() > LONGEST_KEY {
        errors.at(text, format!("a key is {LONGEST_KEY} bytes long at most"));
    }
}

/// T127: another would be let in while the first may still run.
fn lease_is_long_enough(args: &Args, once: &Once, errors: &mut Errors) {
    let given = duration(&once.policy, "lease");
    let Some(timeout) = &args.timeout else { return };
    // A named timeout that says nothing has its limit elsewhere.
    if timeout.name.is_some() && find(timeout, "total").is_none() {
        return;
    }
    // Without a total the heartbeat of the lease is all there is.
    let Some(total) = total(timeout) else { return };
    let lease = given.map_or_else(|| usual(&idempotency::TABLE, "lease"), |(lease, _)| lease);
    if lease >= total {
        return;
    }
    match given {
        Some((_, span)) => errors.span(
            span,
            "the lease is shorter than the total timeout: another call could have the key while this one still runs; the \
             total is 60 s unless you give it",
        ),
        None => errors.at(
            timeout.key.to_token_stream(),
            "the total timeout is longer than the lease of the key, which is 60 s unless you give it, as in \
             `idempotent(.., lease = \"5m\")`",
        ),
    }
}
