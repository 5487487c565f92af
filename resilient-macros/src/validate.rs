//! Reports combinations that cannot work, before rustc reports them in generated code.

mod borrows;
mod early;
mod once;
mod settings;
mod shed;
mod threads;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Expr, ExprLit, FnArg, Lit, ReceiverKind, ReturnType, Safety, Type};

use crate::args::{Args, BuiltInCache, Fallback, is_async, timeouts};
use crate::diag::Errors;
use crate::expand::{bindings, has_hole};
use crate::item::FnItem;
use crate::shape::{Shape, plain};
use crate::text::closest;
use borrows::{has_elided_reference, last_segment, names_lifetime};
use settings::find;

/// The priorities that can be written as one word.
const CLASSES: [&str; 4] = ["critical", "high", "normal", "low"];

pub(crate) fn check(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    signature(function, errors);
    if runtime_above(args, function, errors) {
        return;
    }
    track_caller(function, shape, errors);
    early::check(function, shape, errors);
    output(args, function, errors);
    option_without_error(args, function, shape, errors);
    needs_a_stage(args, errors);
    settings::contradictions(args, errors);
    timeout_fits(args, shape, errors);
    threads::check(args, function, shape, errors);
    hedge_fits(args, function, shape, errors);
    once::check(args, function, shape, errors);
    fallback_fits(args, shape, errors);
    caches_are_safe(args, function, shape, errors);
    priority_is_known(args, function, shape, errors);
    borrows::clones(args, function, shape, errors);
    borrows::mutable_self(args, function, shape, errors);
    borrows::returned_borrow(args, function, errors);
}

fn signature(function: &FnItem, errors: &mut Errors) {
    let sig = &function.sig;
    if let Some(token) = &sig.constness {
        errors.at(
            token,
            "`#[resilient]` cannot be used on a `const fn`: a retry or a circuit breaker needs state at run time",
        );
    }
    if let Safety::Unsafe(token) = &sig.safety {
        errors.at(
            token,
            "`#[resilient]` cannot be used on an `unsafe fn`: the caller's safety guarantees cover only one execution of \
             the body; wrap the unsafe call in a safe function",
        );
    }
    if let Some(abi) = &sig.abi
        && abi.name.as_ref().is_none_or(|name| name.value() != "Rust")
    {
        errors.at(abi, "`#[resilient]` cannot be used on an `extern` function; wrap it in a Rust function");
    }
    if let Some(variadic) = &sig.variadic {
        errors.at(variadic, "`#[resilient]` cannot be used on a variadic function");
    }
    for attr in &function.attrs {
        if attr.path().segments.last().is_some_and(|segment| segment.ident == "resilient") {
            errors.at(attr, "this function has a second `#[resilient]`; put all policies into one attribute");
        }
    }
}

/// Reports `#[tokio::main]` and similar attributes above `#[resilient]` if an argument needs an `async fn`.
///
/// They run first and turn the `async fn` into a synchronous function, which can still be retried as a whole.
fn runtime_above(args: &Args, function: &FnItem, errors: &mut Errors) -> bool {
    let awaits = |fallback: &Fallback| {
        timeouts(fallback).next().is_some()
            || fallback.replica().is_some()
            || fallback.code().any(|answer| is_async(answer) || names(&answer.to_token_stream(), "await"))
    };
    let needs_async = args.timeout.is_some() && args.threads().is_none()
        || args.hedge.is_some()
        || args.fallback.as_ref().is_some_and(awaits);
    if function.sig.asyncness.is_some() || !needs_async || !names(&function.body, "block_on") {
        return false;
    }
    let body: Vec<String> =
        function.body.clone().into_iter().take(4).map(|token| token.to_string()).collect();
    let is_test = function
        .attrs
        .iter()
        .any(|attr| attr.path().segments.last().is_some_and(|last| last.ident == "test"));
    let above = if body != ["let", "body", "=", "async"] {
        "an attribute that starts a runtime is"
    } else if is_test {
        "`#[tokio::test]` is"
    } else {
        "`#[tokio::main]` is"
    };
    errors.at(
        &function.sig.ident,
        format!(
            "{above} above `#[resilient]` and has already turned this `async fn` into a synchronous function; write \
             `#[resilient(..)]` above it"
        ),
    );
    true
}

/// Returns whether the tokens contain a word.
fn names(tokens: &TokenStream, word: &str) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == word,
        TokenTree::Group(group) => names(&group.stream(), word),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// Reports `#[track_caller]`, which has no effect on a body that runs in a closure or future.
///
/// rustc itself reports it on an `async fn`.
fn track_caller(function: &FnItem, shape: &Shape, errors: &mut Errors) {
    if !matches!(shape, Shape::Sync | Shape::ReturnsFuture(_)) {
        return;
    }
    for attr in function.attrs.iter().filter(|attr| attr.path().is_ident("track_caller")) {
        errors.at(
            attr,
            "`#[track_caller]` has no effect here: `#[resilient]` runs the body in a closure, whose caller is this function; \
             move `#[track_caller]` to a function that calls this one and passes `Location::caller()` as an argument",
        );
    }
}

fn output(args: &Args, function: &FnItem, errors: &mut Errors) {
    match &function.sig.output {
        ReturnType::Default if args.fallback.is_none() => errors.at(
            &function.sig.ident,
            "this function returns nothing, so `#[resilient]` cannot tell success from failure; return a `Result`",
        ),
        ReturnType::Type(_, ty) if matches!(plain(ty), Type::Never(_)) => {
            errors.at(ty, "`#[resilient]` cannot be used on a function that never returns: it has no outcome to evaluate");
        }
        _ => {}
    }
}

fn option_without_error(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    if last_segment(&shape.attempt_type(function)).as_deref() != Some("Option") {
        return;
    }
    let retries = args.retry.as_ref().and_then(|retry| retry.when.as_ref());
    for when in retries.into_iter().chain(&args.counts) {
        errors.at(&when.key, "`when` needs an error to check, and an `Option` has none; return a `Result`");
    }
    if let (Some(map_err), true, None) = (&args.map_err, args.can_reject(), &args.fallback) {
        errors.at(
            &map_err.key,
            "`map_err` has no effect if the function returns an `Option`: a rejected call returns `None`",
        );
    }
}

/// Arguments that protect a call.
const STAGES: [&str; 9] = [
    "retry",
    "circuit_breaker",
    "bulkhead",
    "timeout",
    "fallback",
    "rate_limit",
    "hedge",
    "coalesce",
    "load_shed",
];
/// Arguments that can reject a call.
const REJECT: [&str; 8] =
    ["circuit_breaker", "bulkhead", "timeout", "fallback", "rate_limit", "hedge", "coalesce", "load_shed"];

fn needs_a_stage(args: &Args, errors: &mut Errors) {
    let has = |name: &str| args.keys.iter().any(|key| key == name);
    // `idempotent` with a key is a stage, even if it could not be parsed.
    let by_key = has("idempotent") && args.idempotent.is_none();
    let stage = by_key || STAGES.iter().any(|name| has(name));
    // An unknown word may be a misspelled stage.
    if let (false, Some(first)) = (stage || args.has_unknown, args.keys.first()) {
        errors.at(
            first,
            format!("`{first}` has no effect without a policy; add `retry`, `circuit_breaker`, `bulkhead`, `timeout` or `fallback`"),
        );
    }
    if let (Some(map_err), true) = (&args.map_err, has("fallback")) {
        errors.at(&map_err.key, "`map_err` is never used: `fallback` already handles every rejection");
    }
    if args.has_unknown {
        return;
    }
    let rejects = by_key || REJECT.iter().any(|name| has(name));
    if let (Some(map_err), false) = (&args.map_err, rejects) {
        errors.at(&map_err.key, "`map_err` is never used: no policy here can reject a call");
    }
    if let (Some(idempotent), false) = (&args.idempotent, has("retry") || has("hedge")) {
        errors.at(idempotent, "`idempotent` has no effect without `retry` or `hedge`");
    }
    if let (Some(priority), false) = (&args.priority, has("bulkhead") || has("load_shed")) {
        errors.at(&priority.key, "`priority` has no effect without `bulkhead` or `load_shed`");
    }
}

/// Reports a misspelled priority: a word that is not a parameter of the function and similar to a priority.
fn priority_is_known(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    let Some(priority) = &args.priority else { return };
    match &priority.value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
            let word = closest(&text.value(), CLASSES).unwrap_or("high");
            errors.at(text, format!("write `priority = {word}`, without quotes"));
        }
        Expr::Path(path) => {
            let Some(ident) = path.path.get_ident() else { return };
            let word = ident.to_string();
            let is_argument = bindings(&function.sig, shape).iter().any(|binding| binding.ident == *ident);
            if is_argument || CLASSES.contains(&word.as_str()) {
                return;
            }
            if let Some(class) = closest(&word, CLASSES) {
                errors.at(ident, format!("unknown priority `{word}`; did you mean `{class}`?"));
            }
        }
        _ => {}
    }
}

fn timeout_fits(args: &Args, shape: &Shape, errors: &mut Errors) {
    if let (Some(timeout), false) = (&args.timeout, shape.is_async() || args.threads().is_some()) {
        errors.at(
            &timeout.key,
            "`timeout` cannot cancel a synchronous function; make it an `async fn`, or run it on the threads of a bulkhead, \
             as in `bulkhead(\"x\", threads = 8)`",
        );
    }
}

fn hedge_fits(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    let Some(hedge) = &args.hedge else { return };
    if !shape.is_async() {
        errors.at(
            &hedge.key,
            "`hedge` cannot run two attempts of a synchronous function at the same time; make it an `async fn`",
        );
    }
    if args.idempotent.is_none() && args.once.is_none() {
        errors.at(
            &hedge.key,
            "`hedge` can run the body twice at the same time; add `idempotent` if that has the same effect as running it once",
        );
    }
    let is_mutable = |arg: &&FnArg| match arg {
        FnArg::Receiver(receiver) => matches!(&receiver.kind, ReceiverKind::Reference(_, _, Some(_))),
        FnArg::Typed(arg) => {
            matches!(plain(&arg.ty), Type::Reference(reference) if reference.mutability.is_some())
        }
    };
    if let Some(arg) = function.sig.inputs.iter().find(is_mutable) {
        errors.at(arg, "`hedge` runs attempts at the same time, which cannot share a `&mut`; take `&` and use interior mutability, such as a `Mutex`");
    }
    if let (Some((_, span)), Some(_)) = (find(hedge, "percentile"), find(hedge, "after")) {
        errors.span(span, "specify `after` or `percentile`, not both");
    }
}

fn fallback_fits(args: &Args, shape: &Shape, errors: &mut Errors) {
    let Some(fallback) = &args.fallback else { return };
    if let (false, Some(span)) = (shape.is_async(), timeouts(fallback).next()) {
        errors.span(span, "a synchronous fallback level cannot be cancelled, so it cannot have a time limit; make the function an `async fn`");
    }
    if let Some(replica) = fallback.replica().filter(|_| !shape.is_async()) {
        let message = "a replica set is read asynchronously; make the function an `async fn`, or write `replica = f` with your own function";
        errors.at(&replica.set, message);
    }
    for answer in fallback.code() {
        if let Expr::Closure(closure) = answer
            && closure.inputs.len() != 1
        {
            let (given, of) = if fallback.is_single { ("", "") } else { ("&", "each level of ") };
            let given = format!("the failure of the call as a `{given}Failure<E>`");
            let message = format!(
                "{of}`fallback` is called with one argument, {given}; write `|failure| ..`, or `|_| ..` to ignore it"
            );
            if closure.inputs.is_empty() {
                errors.at(answer, message);
            } else {
                errors.at(&closure.inputs, message);
            }
        }
        if let Expr::Closure(closure) = answer
            && is_async(answer)
            && !shape.is_async()
        {
            let token = closure
                .asyncness
                .map_or_else(|| closure.body.to_token_stream(), |token| token.to_token_stream());
            errors.at(
                token.into_iter().next(),
                "this fallback is `async`, but the function is not; remove `async` here, or make the function an `async fn`",
            );
        }
    }
}

/// Requires a cache key for functions with parameters. Without one, a caller could receive the data of another user.
fn caches_are_safe(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    for cache in args.fallback.iter().flat_map(Fallback::caches) {
        cache_is_safe(cache, function, shape, errors);
    }
}

fn cache_is_safe(cache: &BuiltInCache, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    let word = &cache.word;
    let has_parameters = !function.sig.inputs.is_empty()
        || function.sig.generics.type_params().next().is_some()
        || function.sig.generics.const_params().next().is_some();
    if has_parameters && cache.key.is_none() && !cache.is_broken {
        let example = if cache.is_local() {
            "local_cache(max_age = \"10m\", key = id)"
        } else {
            "distributed_cache(store = \"shared\", key = id, max_age = \"10m\")"
        };
        errors.at(
            word,
            format!(
                "`{word}` needs a key, because otherwise one caller could receive the result of another; list everything \
                 that the result depends on, as in `{example}`, or write `key = ()` if it depends on nothing"
            ),
        );
    }
    let ty = shape.attempt_type(function);
    let mut lifetimes = function.sig.generics.lifetimes();
    if has_elided_reference(&ty)
        || lifetimes.any(|param| names_lifetime(ty.to_token_stream(), &param.lifetime.ident))
    {
        errors.at(word, format!("`{word}` stores results longer than the call, but this function returns a borrowed value; return an owned value"));
    }
    if has_hole(&ty) {
        errors.at(
            word,
            format!("`{word}` needs a concrete return type, but this function returns an `impl Trait`; write out the type"),
        );
    }
}
