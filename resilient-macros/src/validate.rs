//! Combinations that cannot work, found before rustc finds them in generated code.

mod borrows;
mod early;
mod once;
mod settings;
mod shed;
mod threads;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Expr, ExprLit, FnArg, Lit, ReceiverKind, ReturnType, Safety, Type};

use crate::args::{Args, Fallback, is_async, timeouts};
use crate::diag::Errors;
use crate::expand::{bindings, has_hole};
use crate::item::FnItem;
use crate::shape::{Shape, plain};
use crate::text::closest;
use borrows::{has_elided_reference, last_segment, names_lifetime};
use settings::find;

/// What a call may be called in one word.
const CLASSES: [&str; 4] = ["critical", "high", "normal", "low"];

pub(crate) fn check(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    signature(function, errors);
    if runtime_above(args, function, errors) {
        return;
    }
    caller_is_lost(function, shape, errors);
    early::check(function, shape, errors);
    output(args, function, errors);
    option_has_no_error(args, function, shape, errors);
    needs_a_stage(args, errors);
    settings::contradictions(args, errors);
    timeout_is_possible(args, shape, errors);
    threads::check(args, function, shape, errors);
    hedge_is_possible(args, function, shape, errors);
    once::check(args, function, shape, errors);
    fallback_fits(args, shape, errors);
    local_cache_is_safe(args, function, shape, errors);
    priority_is_known(args, function, shape, errors);
    borrows::clones(args, function, shape, errors);
    borrows::mutable_self(args, function, shape, errors);
    borrows::borrow_given_out(args, function, errors);
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
            "`#[resilient]` cannot be used on an `unsafe fn`: the caller's promise covers one run of the body; wrap the \
             unsafe call in a safe function",
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
            errors.at(attr, "a second `#[resilient]` on one function; put all policies into one attribute");
        }
    }
}

/// `#[tokio::main]` and its kind, when they stand above, come first, and make a synchronous function of an `async fn`. That
/// function can be retried as a whole. If an argument needs the `async fn`, the error says to put `resilient` above.
fn runtime_above(args: &Args, function: &FnItem, errors: &mut Errors) -> bool {
    let awaits = |fallback: &Fallback| {
        timeouts(fallback).next().is_some()
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
        "an attribute that starts a runtime stands"
    } else if is_test {
        "`#[tokio::test]` stands"
    } else {
        "`#[tokio::main]` stands"
    };
    errors.at(
        &function.sig.ident,
        format!(
            "{above} above `#[resilient]`, and has already made this `async fn` a synchronous function; swap the two, so that \
             `#[resilient(..)]` comes first"
        ),
    );
    true
}

/// Whether a word stands anywhere in the tokens.
fn names(tokens: &TokenStream, word: &str) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == word,
        TokenTree::Group(group) => names(&group.stream(), word),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// The body runs in a closure, or in a future, which have no caller of their own. Of an `async fn` rustc says so itself.
fn caller_is_lost(function: &FnItem, shape: &Shape, errors: &mut Errors) {
    if !matches!(shape, Shape::Sync | Shape::ReturnsFuture(_)) {
        return;
    }
    for attr in function.attrs.iter().filter(|attr| attr.path().is_ident("track_caller")) {
        errors.at(
            attr,
            "`#[track_caller]` has no effect here: `#[resilient]` runs the body in a closure, whose caller is this function; \
             keep `#[track_caller]` on a function that calls this one, and give it `Location::caller()` as an argument",
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
            errors.at(ty, "a function that never returns cannot be resilient: there is no outcome to look at");
        }
        _ => {}
    }
}

fn option_has_no_error(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    if last_segment(&shape.attempt_type(function)).as_deref() != Some("Option") {
        return;
    }
    let retries = args.retry.as_ref().and_then(|retry| retry.when.as_ref());
    for when in retries.into_iter().chain(&args.counts) {
        errors.at(&when.key, "an `Option` has no error that `when` could look at; return a `Result`");
    }
    if let (Some(map_err), true, None) = (&args.map_err, args.can_reject(), &args.fallback) {
        errors.at(
            &map_err.key,
            "an `Option` cannot hold the error of `map_err`: a rejected call returns `None`",
        );
    }
}

/// What protects a call.
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
/// Of them, what can refuse it.
const REJECT: [&str; 8] =
    ["circuit_breaker", "bulkhead", "timeout", "fallback", "rate_limit", "hedge", "coalesce", "load_shed"];

fn needs_a_stage(args: &Args, errors: &mut Errors) {
    let has = |name: &str| args.keys.iter().any(|key| key == name);
    // With a key it is a stage; also where that could not be understood.
    let by_key = has("idempotent") && args.idempotent.is_none();
    let stage = by_key || STAGES.iter().any(|name| has(name));
    // A word that is not known may have been meant for one.
    if let (false, Some(first)) = (stage || args.has_unknown, args.keys.first()) {
        errors.at(
            first,
            format!("`{first}` alone protects nothing; add `retry`, `circuit_breaker`, `bulkhead`, `timeout` or `fallback`"),
        );
    }
    if let (Some(map_err), true) = (&args.map_err, has("fallback")) {
        errors.at(&map_err.key, "`map_err` is never used: `fallback` already takes every rejection");
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

/// A word that is no argument and nearly a class was meant for that.
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

fn timeout_is_possible(args: &Args, shape: &Shape, errors: &mut Errors) {
    if let (Some(timeout), false) = (&args.timeout, shape.is_async() || args.threads().is_some()) {
        errors.at(
            &timeout.key,
            "a synchronous function cannot be stopped, so its time cannot be limited; make it an `async fn`, or let it run \
             on threads that the caller can leave, as in `bulkhead(\"x\", threads = 8)`",
        );
    }
}

fn hedge_is_possible(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    let Some(hedge) = &args.hedge else { return };
    if !shape.is_async() {
        errors.at(
            &hedge.key,
            "a synchronous function cannot make two attempts at the same time; make it an `async fn`",
        );
    }
    if args.idempotent.is_none() && args.once.is_none() {
        errors.at(
            &hedge.key,
            "`hedge` runs the body twice at the same time: add `idempotent` if that has the effect of once",
        );
    }
    let is_mutable = |arg: &&FnArg| match arg {
        FnArg::Receiver(receiver) => matches!(&receiver.kind, ReceiverKind::Reference(_, _, Some(_))),
        FnArg::Typed(arg) => {
            matches!(plain(&arg.ty), Type::Reference(reference) if reference.mutability.is_some())
        }
    };
    if let Some(arg) = function.sig.inputs.iter().find(is_mutable) {
        errors.at(arg, "two attempts at the same time cannot both have this `&mut`: take `&`, with a lock or a cell inside");
    }
    if let (Some((_, span)), Some(_)) = (find(hedge, "percentile"), find(hedge, "after")) {
        errors.span(span, "give `after` or `percentile`, not both");
    }
}

fn fallback_fits(args: &Args, shape: &Shape, errors: &mut Errors) {
    let Some(fallback) = &args.fallback else { return };
    if let (false, Some(span)) = (shape.is_async(), timeouts(fallback).next()) {
        errors.span(span, "a synchronous level cannot be stopped, so its time cannot be limited; make the function an `async fn`");
    }
    for answer in fallback.code() {
        if let Expr::Closure(closure) = answer
            && closure.inputs.len() != 1
        {
            let (given, of) = if fallback.is_single { ("", "") } else { ("&", "each level of ") };
            let given = format!("the failure of the call, a `{given}Failure<E>`");
            let message = format!(
                "{of}`fallback` is called with one argument, {given}: write `|failure| ..`, or `|_| ..` where it is not needed"
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
                "this fallback is async, but the function is not; remove `async` from one or add it to the other",
            );
        }
    }
}

/// Where answers differ by what the function is given, one for all would give one user's data to another.
fn local_cache_is_safe(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    let Some(kept) = args.fallback.as_ref().and_then(Fallback::kept) else { return };
    let word = &kept.word;
    let has_parameters = !function.sig.inputs.is_empty()
        || function.sig.generics.type_params().next().is_some()
        || function.sig.generics.const_params().next().is_some();
    if has_parameters && kept.key.is_none() && !kept.is_broken {
        errors.at(
            word,
            "`local_cache` needs a key here, or one caller would get the answer of another: name all that the answer \
             depends on, as in `local_cache(max_age = \"10m\", key = id)`, or `key = ()` if that is nothing",
        );
    }
    let ty = shape.attempt_type(function);
    let mut lifetimes = function.sig.generics.lifetimes();
    if has_elided_reference(&ty)
        || lifetimes.any(|param| names_lifetime(ty.to_token_stream(), &param.lifetime.ident))
    {
        errors.at(word, "`local_cache` keeps values beyond the call, and this function returns a borrow; return an owned value");
    }
    if has_hole(&ty) {
        errors.at(
            word,
            "`local_cache` keeps values of a type that is written out; this function returns an `impl Trait`",
        );
    }
}
