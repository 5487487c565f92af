//! Combinations that cannot work, found before rustc finds them in generated code.

mod once;
mod shed;
mod threads;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Expr, ExprLit, FnArg, Ident, Lifetime, Lit, Local, ParenthesizedGenericArguments, Pat, ReceiverKind,
    ReturnType, Safety, Stmt, Type, TypeFnPtr, TypeReference,
};

use crate::args::{Args, Fallback, Policy, RateLimit, Value, is_async, timeouts};
use crate::diag::Errors;
use crate::expand::{bindings, has_hole};
use crate::item::FnItem;
use crate::shape::{Shape, plain};
use crate::text::closest;

/// What a call may be called in one word.
const CLASSES: [&str; 4] = ["critical", "high", "normal", "low"];

pub(crate) fn check(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    signature(function, errors);
    output(args, function, errors);
    option_has_no_error(args, function, shape, errors);
    needs_a_stage(args, errors);
    contradictions(args, errors);
    timeout_is_possible(args, shape, errors);
    threads::check(args, function, shape, errors);
    hedge_is_possible(args, function, shape, errors);
    once::check(args, function, shape, errors);
    fallback_fits(args, shape, errors);
    local_cache_is_safe(args, function, shape, errors);
    priority_is_known(args, function, shape, errors);
    clones(args, function, shape, errors);
    mutable_self(args, function, shape, errors);
    borrow_given_out(args, function, errors);
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
    if let Some(when) = args.retry.as_ref().and_then(|retry| retry.when.as_ref()) {
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

/// The value of a setting and its place.
fn find<'a>(policy: &'a Policy, field: &str) -> Option<(&'a Value, proc_macro2::Span)> {
    let setting = policy.settings.iter().find(|setting| setting.field == field)?;
    Some((&setting.value, setting.span))
}

fn duration(policy: &Policy, field: &str) -> Option<(u64, proc_macro2::Span)> {
    match find(policy, field)? {
        (Value::Duration(nanos), span) => Some((*nanos, span)),
        _ => None,
    }
}

fn count(policy: &Policy, field: &str) -> Option<(u64, proc_macro2::Span)> {
    match find(policy, field)? {
        (Value::Count(count), span) => Some((*count, span)),
        _ => None,
    }
}

fn contradictions(args: &Args, errors: &mut Errors) {
    if let Some(breaker) = &args.circuit_breaker {
        if let (Some((calls, span)), Some((window, _))) =
            (count(breaker, "min_calls"), count(breaker, "window"))
            && calls > window
        {
            errors.span(span, format!("the window of {window} calls never holds `min_calls = {calls}`, so the circuit could not open"));
        }
        open_period(breaker, errors);
        if let (Some((_, span)), None) = (find(breaker, "slow_rate"), find(breaker, "slow_call")) {
            errors.span(span, "`slow_rate` needs `slow_call`: how long a call takes that is slow, as in `slow_call = \"2s\"`");
        }
    }
    if let Some(bulkhead) = &args.bulkhead {
        bulkhead_contradictions(bulkhead, errors);
    }
    if let Some(shed) = &args.load_shed {
        shed::contradictions(&shed.policy, errors);
    }
    if let Some(limit) = &args.rate_limit {
        rate_limit_contradictions(&limit.policy, errors);
        weight_fits(limit, errors);
    }
    if let Some(timeout) = &args.timeout {
        timeout_contradictions(timeout, errors);
    }
}

/// What the runtime takes where the attribute is silent.
const OPEN_FOR: u64 = 5_000_000_000;
const MAX_CONCURRENT: u64 = 64;
/// The least and the most that an adaptive bulkhead finds where nothing is said.
const ADAPTIVE_MIN: u64 = 1;
const ADAPTIVE_MAX: u64 = 200;
const TOTAL: u64 = 60_000_000_000;

fn open_period(breaker: &Policy, errors: &mut Errors) {
    match (duration(breaker, "open_for"), duration(breaker, "open_max")) {
        (Some((open_for, span)), Some((open_max, _))) if open_for > open_max => {
            errors.span(span, "`open_for` is longer than `open_max`");
        }
        (None, Some((open_max, span))) if OPEN_FOR > open_max => {
            errors.span(span, "`open_max` is shorter than `open_for`, which is 5 s unless you give it");
        }
        _ => {}
    }
}

fn bulkhead_contradictions(bulkhead: &Policy, errors: &mut Errors) {
    if find(bulkhead, "threads").is_some() {
        return;
    }
    let is_adaptive = matches!(find(bulkhead, "adaptive"), Some((Value::Flag(true), _)));
    if is_adaptive {
        found_limit(bulkhead, errors);
    }
    let queue = count(bulkhead, "max_queue").filter(|(count, _)| *count > 0);
    let wait = duration(bulkhead, "max_wait");
    if let (Some((_, span)), None) = (queue, wait) {
        errors.span(
            span,
            "a queue needs `max_wait`, or its callers could wait for ever, as in `max_wait = \"50ms\"`",
        );
    }
    if let (None, Some((_, span))) = (queue, wait) {
        errors.span(span, "`max_wait` has no effect without a queue: add `max_queue = 100`");
    }
    let reserved = ["reserve_critical", "reserve_high"].map(|field| count(bulkhead, field));
    let sum: u64 = reserved.iter().flatten().map(|(count, _)| *count).sum();
    let last = reserved.iter().flatten().next_back();
    let (field, max) = if is_adaptive {
        ("min", count(bulkhead, "adaptive_min").map_or(ADAPTIVE_MIN, |(min, _)| min))
    } else {
        ("max_concurrent", count(bulkhead, "max_concurrent").map_or(MAX_CONCURRENT, |(max, _)| max))
    };
    if let Some((_, span)) = last
        && sum >= max
    {
        errors.span(
            *span,
            format!("the reserve of {sum} leaves nothing of `{field} = {max}` for normal calls"),
        );
    }
}

/// The limit of a bulkhead that finds it.
fn found_limit(bulkhead: &Policy, errors: &mut Errors) {
    if let Some((_, span)) = count(bulkhead, "max_concurrent") {
        errors.span(
            span,
            "an adaptive bulkhead finds how many calls may run; bound it with `adaptive(min = .., max = ..)`",
        );
    }
    let (min, max) = (count(bulkhead, "adaptive_min"), count(bulkhead, "adaptive_max"));
    let least = min.map_or(ADAPTIVE_MIN, |(min, _)| min);
    let most = max.map_or(ADAPTIVE_MAX, |(max, _)| max);
    if let (Some((_, span)), true) = (max.or(min), least > most) {
        errors.span(span, format!("the adaptive limit has no room: `min = {least}` is above `max = {most}`"));
    } else if let Some((initial, span)) = count(bulkhead, "adaptive_initial")
        && !(least..=most).contains(&initial)
    {
        errors.span(span, format!("an adaptive limit begins from its `min = {least}` to its `max = {most}`"));
    }
}

/// What the runtime takes at most, too.
const LONGEST_LOG: u64 = 10_000;
const LONGEST_REFILL: u128 = 100 * 365 * 24 * 3600 * 1_000_000_000;

/// The count and the nanoseconds of the rate, where it was understood.
fn rate(limit: &Policy) -> Option<(u64, u64, proc_macro2::Span)> {
    match find(limit, "rate")? {
        (Value::Text(text), span) => crate::text::rate_of(text).map(|(count, per)| (count, per, span)),
        _ => None,
    }
}

fn rate_limit_contradictions(limit: &Policy, errors: &mut Errors) {
    if let (Some((burst, span)), Some((calls, per, _))) = (count(limit, "burst"), rate(limit))
        && u128::from(burst) * u128::from(per) > LONGEST_REFILL * u128::from(calls)
    {
        errors.span(
            span,
            format!("at this rate a burst of {burst} would take more than 100 years to come again"),
        );
    }
    let Some((Value::Text(algorithm), span)) = find(limit, "algorithm") else { return };
    if let (Some((calls, _, span)), "sliding_log") = (rate(limit), algorithm.as_str())
        && calls > LONGEST_LOG
    {
        errors.span(
            span,
            format!("a `sliding_log` remembers each call: at most {LONGEST_LOG} of them, or use a `sliding_window`"),
        );
    }
    if algorithm == "leaky_bucket" && find(limit, "max_wait").is_none() {
        errors.span(
            span,
            "with a `leaky_bucket` calls wait for their turn: say for how long, as in `max_wait = \"1s\"`",
        );
    }
    if let (Some((_, span)), true) = (find(limit, "burst"), algorithm != "token_bucket") {
        errors.span(span, "only a `token_bucket` has a burst");
    }
}

fn timeout_contradictions(timeout: &Policy, errors: &mut Errors) {
    let total = duration(timeout, "total").map(|(total, _)| total);
    for part in ["attempt", "connect", "read"] {
        let Some((limit, span)) = duration(timeout, part) else { continue };
        match total {
            Some(total) if limit > total => {
                errors.span(span, format!("the {part} timeout can never fire: the total is shorter"));
            }
            None if limit > TOTAL => errors.span(
                span,
                format!("the {part} timeout can never fire: the total is 60 s unless you give it, as in `total = \"2m\"`"),
            ),
            _ => {}
        }
    }
    adaptive_contradictions(timeout, errors);
}

/// What the runtime takes where the attribute is silent.
const LEAST: u64 = 50_000_000;
const SECOND: u64 = 1_000_000_000;
const MOST: u64 = 30_000_000_000;

fn adaptive_contradictions(timeout: &Policy, errors: &mut Errors) {
    if !matches!(find(timeout, "adaptive"), Some((Value::Flag(true), _))) {
        return;
    }
    let given = |field: &str| duration(timeout, field);
    let (min, max) = (given("min"), given("max"));
    let (least, most) = (min.map_or(LEAST, |(min, _)| min), max.map_or(MOST, |(max, _)| max));
    match (min, max) {
        (Some((_, span)), Some(_)) if least > most => errors.span(span, "`min` is longer than `max`"),
        (Some((_, span)), None) if least > most => {
            errors.span(span, "`min` is longer than `max`, which is 30 s unless you give it");
        }
        (None, Some((_, span))) if least > most => {
            errors.span(span, "`max` is shorter than `min`, which is 50 ms unless you give it");
        }
        _ => {}
    }
    if let Some((attempt, span)) = given("attempt")
        && !(least..=most).contains(&attempt)
    {
        errors.span(
            span,
            "an adaptive timeout begins with `attempt`, which must be from its `min` to its `max`",
        );
    }
    match given("window") {
        Some((window, span)) if window < most.saturating_mul(2) => errors.span(
            span,
            "the window must be at least twice `max`, or an attempt could be forgotten before it has ended",
        ),
        Some((window, span)) if window < SECOND => errors.span(span, "a window of time is 1 s at least"),
        _ => {}
    }
    let total = given("total").map_or(TOTAL, |(total, _)| total);
    if total < least {
        let span = min.or(given("total")).map_or(timeout.key.span(), |(_, span)| span);
        errors.span(span, "the adaptive timeout can never fire: the total is shorter than its `min`, which is 50 ms unless you give it");
    }
}

/// A weight that is a literal can be held against the limit.
fn weight_fits(limit: &RateLimit, errors: &mut Errors) {
    let (Some(weight), Some((calls, ..))) = (&limit.weight, rate(&limit.policy)) else { return };
    let Expr::Lit(ExprLit { lit: Lit::Int(lit), .. }) = &weight.value else { return };
    let is_leaky =
        matches!(find(&limit.policy, "algorithm"), Some((Value::Text(name), _)) if name == "leaky_bucket");
    let most = if is_leaky { 1 } else { count(&limit.policy, "burst").map_or(calls, |(burst, _)| burst) };
    if lit.base10_parse::<u64>().is_ok_and(|weight| weight > most) {
        errors.at(lit, format!("a call of this weight is never admitted: the limit is {most}"));
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

fn clones(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    let Some(clone) = &args.clone else { return };
    let repeats = args.keys.iter().any(|key| key == "retry" || key == "hedge");
    if !args.has_unknown && !repeats && args.threads().is_none() {
        errors.at(&clone.key, "`clone` has no effect without `retry` or `hedge`: the body runs once");
    }
    let names: Vec<Ident> = bindings(&function.sig, shape).into_iter().map(|binding| binding.ident).collect();
    for ident in &clone.value {
        if ident == "self" {
            if args.threads().is_none() {
                errors.at(ident, "`self` cannot be copied for each attempt; take `&self`");
            } else if function.sig.receiver().is_none() {
                errors.at(ident, "this function has no `self`");
            }
        } else if !names.contains(ident) {
            errors.at(ident, format!("no parameter is named `{ident}`"));
        }
    }
}

/// A `mut` argument is copied for each attempt; `self` cannot be bound anew.
fn mutable_self(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    let (true, Some(receiver)) = (args.repeats(), function.sig.receiver()) else {
        return;
    };
    let by_value = match &receiver.kind {
        ReceiverKind::Value => true,
        // `mut self: Pin<&mut Self>` is a `&mut self` that wants `self.as_mut()`.
        ReceiverKind::Typed(_, ty) => {
            !matches!(plain(ty), Type::Reference(_)) && last_segment(ty).as_deref() != Some("Pin")
        }
        _ => false,
    };
    if by_value && (receiver.mutability.is_some() || shape.once().iter().any(binds_mutable_self)) {
        errors.at(
            receiver,
            "what one attempt changes in `mut self` would leak into the next; take `self`, and write \
             `let mut this = self.clone();` in the body",
        );
    }
}

/// `let mut __self = self;`, which is how `#[async_trait]` writes `mut self`.
fn binds_mutable_self(stmt: &Stmt) -> bool {
    let Stmt::Local(Local { pat: Pat::Ident(pat), .. }) = stmt else {
        return false;
    };
    pat.ident == "__self" && pat.mutability.is_some()
}

/// The last word of a type that is a path.
fn last_segment(ty: &Type) -> Option<String> {
    match plain(ty) {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
        _ => None,
    }
}

/// `fn f(&mut self) -> Result<&T, E>`: the one borrow that a loop cannot have, until Polonius.
fn borrow_given_out(args: &Args, function: &FnItem, errors: &mut Errors) {
    let (Some(_), ReturnType::Type(_, ret)) = (&args.retry, &function.sig.output) else {
        return;
    };
    let given_out = |arg: &&FnArg| {
        let lifetime = match arg {
            FnArg::Receiver(receiver) => match &receiver.kind {
                ReceiverKind::Reference(_, lifetime, Some(_)) => lifetime.as_ref(),
                _ => return false,
            },
            FnArg::Typed(arg) => match plain(&arg.ty) {
                Type::Reference(reference) if reference.mutability.is_some() => reference.lifetime.as_ref(),
                _ => return false,
            },
        };
        match lifetime {
            Some(lifetime) if lifetime.ident != "_" => names_lifetime(ret.to_token_stream(), &lifetime.ident),
            _ => {
                let elided = matches!(arg, FnArg::Receiver(_)) || function.sig.inputs.len() == 1;
                elided && has_elided_reference(ret)
            }
        }
    };
    let Some(arg) = function.sig.inputs.iter().find(given_out) else {
        return;
    };
    let what = if matches!(arg, FnArg::Receiver(_)) { "`&mut self`" } else { "a `&mut` parameter" };
    errors.at(
        ret,
        format!(
            "`retry` cannot be used on a function that gives out a borrow of {what}: the borrow would have to end before \
             the next attempt; return an owned value"
        ),
    );
}

fn names_lifetime(tokens: TokenStream, lifetime: &Ident) -> bool {
    let mut tick = false;
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => names_lifetime(group.stream(), lifetime),
        TokenTree::Punct(punct) => {
            tick = punct.as_char() == '\'';
            false
        }
        TokenTree::Ident(ident) => std::mem::take(&mut tick) && ident == *lifetime,
        TokenTree::Literal(_) => false,
    })
}

fn has_elided_reference(ty: &Type) -> bool {
    struct Find(bool);
    impl VisitMut for Find {
        fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
            self.0 |= reference.lifetime.is_none();
            visit_mut::visit_type_reference_mut(self, reference);
        }

        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            self.0 |= lifetime.ident == "_";
        }

        // `fn(&T)` and `dyn Fn(&T)` take a borrow, and give none out.
        fn visit_type_fn_ptr_mut(&mut self, _: &mut TypeFnPtr) {}
        fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut ParenthesizedGenericArguments) {}
    }
    let mut find = Find(false);
    find.visit_type_mut(&mut ty.clone());
    find.0
}
