//! Generates the code around an attempt: admission, classification and retry.
//!
//! ```text
//! let mut call = Call::begin(SITE.pipeline());
//! loop {                                          // only with `retry`
//!     if let Err(rejection) = admission {         // after the pause before a retry, and the bulkhead's queue
//!         break reject(rejection);
//!     }
//!     match call.attempt(BODY).await {            // in place, once
//!         Ok(out) => match call.finish_as(&out, rule!(of &out), wording!(&out)) {
//!             Return => break out, Fail => break out, Retry => {}
//!         },
//!         Err(rejection) => if let Some(refused) = call.stopped(CutOff, rejection, reject, rule!(R)) { break refused },
//!     }
//! }
//! ```
//!
//! Each await point costs compile time and size, so there are only two: admission and the body.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Expr, Token, Type};

use super::{Writer, bindings, has_hole};
use crate::spans::{ends, located, runtime_at};

impl Writer<'_> {
    /// Returns the new body after the site. `attempt` is the old body as a closure or an `async` block.
    pub(super) fn call(&self, attempt: &TokenStream) -> TokenStream {
        let (moved, begin) = (self.moved(), self.begin());
        let begin = quote!(#moved #begin);
        let attempts = self.shared(&self.once(&self.attempts(attempt)));
        // An explicit `return`: some clippy lints require it, and in a macro none forbids it.
        let keyword = Token![return](Span::mixed_site());
        match &self.args.fallback {
            None => quote!(#begin #keyword #attempts;),
            Some(fallback) => {
                let call = self.with_fallback(fallback, &attempts);
                quote!(#begin #keyword #call;)
            }
        }
    }

    fn begin(&self) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let begin = match &self.args.registry {
            None => quote_spanned! {mixed=>
                let mut __call = #krate::__rt::Call::begin(__RESILIENT_SITE.pipeline());
            },
            Some(registry) => {
                // The type coerces to a borrow, whether the registry is a reference, an `Arc` or a field.
                let registry = &registry.value;
                let borrow = quote_spanned!(ends(registry).0=> &#registry);
                quote_spanned! {mixed=>
                    let __pipeline = {
                        let __registry: &#krate::__rt::Registry = #borrow;
                        __RESILIENT_SITE.pipeline_in(__registry)
                    };
                    let mut __call = #krate::__rt::Call::begin(&__pipeline);
                }
            }
        };
        let begin = self.limited(&begin);
        let begin = self.arrived(&begin);
        let in_threads = self.args.threads().map(|_| quote_spanned!(mixed=> __call.set_in_threads();));
        let begin = quote!(#begin #in_threads);
        let Some(priority) = &self.args.priority else {
            return begin;
        };
        let expr = &priority.value;
        let class = match expr {
            Expr::Path(path) => path.path.get_ident().and_then(|ident| class(&ident.to_string())),
            _ => None,
        };
        let priority = match class {
            Some(class) => {
                let class = Ident::new(class, mixed);
                quote_spanned!(mixed=> #krate::__rt::Priority::#class)
            }
            None => quote!(#expr),
        };
        quote_spanned!(mixed=> #begin __call.set_priority(#priority);)
    }

    /// Appends the code that sets when the call arrived.
    fn arrived(&self, begin: &TokenStream) -> TokenStream {
        let arrived_at = self.args.load_shed.as_ref().and_then(|shed| shed.arrived_at.as_ref()).map(|at| {
            let at = &at.value;
            quote_spanned!(ends(at).0=> __call.set_arrived_at(#at);)
        });
        quote!(#begin #arrived_at)
    }

    /// Appends the code that sets the rate limit key and the weight of the call.
    fn limited(&self, begin: &TokenStream) -> TokenStream {
        let mixed = Span::mixed_site();
        let Some(limit) = &self.args.rate_limit else { return begin.clone() };
        let key = limit.key.as_ref().map(|key| {
            let key = &key.value;
            let borrow = quote_spanned!(ends(key).0=> &(#key));
            quote_spanned!(mixed=> __call.set_rate_key(#borrow);)
        });
        let weight = limit.weight.as_ref().map(|weight| {
            let weight = &weight.value;
            quote_spanned!(ends(weight).0=> __call.set_weight(#weight);)
        });
        quote!(#begin #key #weight)
    }

    fn attempts(&self, attempt: &TokenStream) -> TokenStream {
        let mixed = Span::mixed_site();
        let leave = if self.args.retry.is_some() { Leave::Loop } else { Leave::Block };
        let run = if self.args.hedge.is_some() {
            // Each hedged attempt is admitted separately.
            self.hedged(attempt, &leave)
        } else {
            let (admission, run) = (self.admission(&leave), self.run(attempt, &leave));
            quote!(#admission #run)
        };
        let Some(retry) = &self.args.retry else { return quote_spanned!(mixed=> '__attempt: { #run }) };
        // The span of the loop makes rustc's "inside of this loop" underline the word `retry` in the attribute.
        let keyword = Token![loop](located(retry.policy.key.span()));
        let needed_again = self.needed_again();
        quote_spanned!(mixed=> #keyword { #needed_again #run })
    }

    /// Returns the code that continues only if the stages admit the attempt.
    ///
    /// It leaves no variable alive, which would become part of the future.
    fn admission(&self, leave: &Leave) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        if !self.args.can_reject() {
            let pause = match leave {
                Leave::Block => TokenStream::new(),
                Leave::Loop if self.shape.is_async() => quote_spanned! {mixed=>
                    if __call.must_pause() { __call.pause().await; }
                },
                Leave::Loop => quote_spanned!(mixed=> __call.pause_blocking();),
            };
            let hold = self.hold(leave);
            return quote_spanned!(mixed=> #pause __call.begin_attempt(); #hold);
        }
        let asks = self.args.rate_limit.is_some()
            || self.args.retry.as_ref().is_some_and(|retry| retry.when.is_some());
        let stopped = self.not_admitted("Refused", leave);
        let refused = if matches!(leave, Leave::Loop) && asks {
            stopped
        } else {
            // No stage gives a retry delay, and no predicate requests a retry.
            let rejected = leave.with(&self.rejected());
            quote_spanned!(mixed=> #krate::__rt::refused!(__call { #rejected; } { #stopped });)
        };
        let can_wait =
            self.args.bulkhead.is_some() || self.args.rate_limit.is_some() || matches!(leave, Leave::Loop);
        if self.shape.is_async() && !can_wait {
            return quote_spanned!(mixed=> #krate::__rt::admit_at_once!(__call __rejection { #refused }););
        }
        if !self.shape.is_async() {
            return quote_spanned! {mixed=>
                if let ::core::result::Result::Err(__rejection) = __call.enter_blocking() { #refused }
            };
        }
        quote_spanned! {mixed=>
            if !__call.enter() {
                if let ::core::result::Result::Err(__rejection) = __call.admitted().await { #refused }
            }
        }
    }

    /// Returns the code that follows an attempt that was not admitted. It leaves the attempt.
    fn not_admitted(&self, by: &str, leave: &Leave) -> TokenStream {
        let mixed = Span::mixed_site();
        let stopped = self.stopped(by, leave);
        match leave {
            Leave::Loop => quote_spanned!(mixed=> #stopped continue;),
            Leave::Block => {
                let leaves = leave.with(&quote_spanned!(mixed=> { #stopped }));
                quote_spanned!(mixed=> #leaves;)
            }
        }
    }

    /// Returns the code that lets faults hold an attempt that no stage can reject.
    fn hold(&self, leave: &Leave) -> TokenStream {
        if !self.handles_rejections() {
            // The return type may not be able to hold a rejection, so that the attempt handles it.
            return TokenStream::new();
        }
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let how = Ident::new(if self.shape.is_async() { "async" } else { "sync" }, mixed);
        let stopped = self.not_admitted("CutOff", leave);
        quote_spanned!(mixed=> #krate::__rt::hold!(#how __call __rejection { #stopped });)
    }

    /// Whether the function has code for the rejection of an attempt.
    fn handles_rejections(&self) -> bool {
        self.args.can_reject() || self.args.fallback.is_some() || self.args.map_err.is_some()
    }

    /// Returns the code of the attempt and of what follows it.
    fn run(&self, attempt: &TokenStream, leave: &Leave) -> TokenStream {
        let (copies, mixed) = (self.copies, Span::mixed_site());
        let finish = self.finish(leave);
        if self.args.threads().is_some() {
            return self.run_in_pool(attempt, leave);
        }
        let is_async = self.shape.is_async();
        if self.args.timeout.is_none() || !is_async {
            let run = self.run_untimed(attempt, &finish);
            return quote_spanned!(mixed=> #copies #run);
        }
        let stopped = self.stopped("CutOff", leave);
        quote_spanned! {mixed=>
            #copies
            match __call.attempt(#attempt).await {
                ::core::result::Result::Ok(__out) => { #finish }
                ::core::result::Result::Err(__rejection) => { #stopped }
            }
        }
    }

    /// Returns the attempt without a time limit.
    fn run_untimed(&self, attempt: &TokenStream, finish: &TokenStream) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let is_async = self.shape.is_async();
        if self.handles_rejections() {
            let run = if is_async {
                quote_spanned!(mixed=> __call.attempt_untimed(#attempt).await)
            } else {
                quote_spanned!(mixed=> __call.attempt_sync(#attempt))
            };
            return quote_spanned!(mixed=> let __out = #run; #finish);
        }
        let typed = self.args.chaos.error.as_ref().map(|error| {
            let failed = self.failed_with(&error.value);
            quote_spanned!(mixed=> ; #failed)
        });
        // The return type may not be able to hold a rejection. Nothing is known about an opaque type.
        let output = (!has_hole(output)).then_some(output);
        let run = if is_async {
            quote_spanned!(mixed=> #krate::__rt::attempt_untimed!(__call (#attempt) #output #typed).await)
        } else {
            quote_spanned!(mixed=> #krate::__rt::attempt_sync!(__call (#attempt) #output #typed))
        };
        quote_spanned!(mixed=> let __out = #run; #finish)
    }

    /// Returns `plain`, or the code for a rejection that a fault makes in place of the error of `chaos(error = ..)`.
    fn typed(
        &self,
        rejection: &TokenStream,
        plain: &TokenStream,
        typed: impl FnOnce(&Expr) -> TokenStream,
    ) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let Some(error) = &self.args.chaos.error else { return plain.clone() };
        let typed = typed(&error.value);
        quote_spanned!(mixed=> #krate::__rt::typed!(#rejection { #typed } { #plain }))
    }

    /// Returns the outcome with the error of `chaos(error = ..)`.
    fn failed_with(&self, error: &Expr) -> TokenStream {
        let (output, place) = (self.output, ends(error));
        let with = runtime_at(self.krate(), "fail_with", place);
        quote_spanned!(place.1=> #with::<#output, _>(#error))
    }

    /// Returns the attempt on a thread of the bulkhead. rustc errors about its captures point to the word `threads`.
    fn run_in_pool(&self, attempt: &TokenStream, leave: &Leave) -> TokenStream {
        let (copies, mixed) = (self.copies, Span::mixed_site());
        let (finish, stopped) = (self.finish(leave), self.stopped("CutOff", leave));
        let place = self.args.threads().map_or(mixed, |threads| located(threads.span));
        let body = quote_spanned!(mixed=> let __body = #attempt;);
        let attempt = if self.shape.is_async() {
            quote_spanned!(place=> __call.attempt_in_pool_async(__body).await)
        } else {
            quote_spanned!(place=> __call.attempt_in_pool(__body))
        };
        quote_spanned! {mixed=>
            #copies
            #body
            match #attempt {
                ::core::result::Result::Ok(__out) => { #finish }
                ::core::result::Result::Err(__rejection) => { #stopped }
            }
        }
    }

    /// Returns the code that follows an attempt that ended with a `Stop`.
    pub(super) fn stopped(&self, by: &str, leave: &Leave) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let by = Ident::new(by, mixed);
        let by = quote_spanned!(mixed=> #krate::__rt::Stop::#by);
        let (reject, rule) = (self.reject(), self.rule_of_rejections());
        let value = match &self.args.fallback {
            Some(_) => {
                let rejected = quote_spanned! {mixed=>
                    ::core::result::Result::Err(#krate::__rt::Failure::Rejected(__refused))
                };
                self.typed(&quote_spanned!(mixed=> __refused), &rejected, |error| {
                    quote_spanned! {mixed=>
                        ::core::result::Result::Err(#krate::__rt::Failure::Failed(#krate::__rt::evaluate(#error)))
                    }
                })
            }
            None => quote_spanned!(self.output_ends().0=> __refused),
        };
        match leave {
            Leave::Block => quote_spanned! {mixed=>
                let __refused = __call.stopped_for_good(#by, __rejection, #reject, #rule);
                #value
            },
            Leave::Loop => quote_spanned! {mixed=>
                if let ::core::option::Option::Some(__refused) = __call.stopped(#by, __rejection, #reject, #rule) {
                    break #value;
                }
            },
        }
    }

    /// Returns the function that converts a rejection to the return type. With a fallback, it returns the rejection.
    pub(super) fn reject(&self) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        if self.args.fallback.is_some() {
            return quote_spanned!(mixed=> ::core::convert::identity);
        }
        if self.args.map_err.is_some() || self.args.chaos.error.is_some() {
            let rejection = quote_spanned!(mixed=> __rejection);
            let rejected = self.typed(&rejection, &self.rejected(), |error| self.failed_with(error));
            return quote_spanned!(mixed=> |__rejection: #krate::__rt::Rejection| #rejected);
        }
        let reject = self.runtime_at_error("reject");
        // A function pointer: otherwise rustc reports a type that cannot hold a rejection twice.
        quote_spanned!(mixed=> #reject::<#output> as fn(_) -> _)
    }

    /// Returns the rule that classifies the converted rejection.
    pub(super) fn rule_of_rejections(&self) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let unknown = quote_spanned!(mixed=> #krate::__rt::Judgement::from(#krate::__rt::Class::UNKNOWN));
        // No retry or circuit breaker uses it, or the type is not written out and only its values are known.
        if !self.uses_timeout_class()
            || matches!(output, Type::Infer(_))
            || (self.args.fallback.is_some() && has_hole(output))
        {
            return unknown;
        }
        let (rule, judge) = (self.ruling("rule"), self.ruling("judge"));
        let refused = quote_spanned!(mixed=> __refused);
        let predicates = self.predicates(&refused);
        if self.args.fallback.is_none() {
            // Without a predicate and with a type that is written out, the type is enough.
            if predicates.is_empty() && !has_hole(output) {
                return quote_spanned!(mixed=> #krate::__rt::#rule!(#output));
            }
            return quote_spanned! {mixed=>
                |__refused: &#output| {
                    let __verdict = #krate::__rt::#judge!(__refused);
                    #predicates
                    __verdict
                }
            };
        }
        let refused = match &self.args.map_err {
            Some(map_err) => {
                let map = &map_err.value;
                let place = ends(map);
                let with = runtime_at(krate, "reject_with", place);
                let rejection = quote_spanned!(mixed=> <#krate::__rt::Rejection as ::core::clone::Clone>::clone(__rejection));
                let made = quote_spanned!(place.1=> #with::<#output, _>(#rejection, #map));
                quote_spanned!(mixed=> ::core::option::Option::Some(#made))
            }
            None => quote_spanned!(mixed=> #krate::__rt::rejected!(#output, __rejection)),
        };
        let refused = self.typed(&quote_spanned!(mixed=> __rejection), &refused, |error| {
            let failed = self.failed_with(error);
            quote_spanned!(mixed=> ::core::option::Option::Some(#failed))
        });
        quote_spanned! {mixed=>
            |__rejection: &#krate::__rt::Rejection| match #refused {
                ::core::option::Option::Some(__refused) => {
                    let __refused = &__refused;
                    let __verdict = #krate::__rt::#judge!(__refused);
                    #predicates
                    __verdict
                }
                ::core::option::Option::None => #unknown,
            }
        }
    }

    /// Returns whether a stage uses the classification of a timeout error.
    fn uses_timeout_class(&self) -> bool {
        self.args.retry.is_some() || self.args.circuit_breaker.is_some()
    }

    /// Returns the code that classifies `__out` and returns it or retries.
    fn finish(&self, leave: &Leave) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let out = quote_spanned!(mixed=> &__out);
        if self.args.failure.is_some() || !self.predicates(&out).is_empty() {
            let verdict = self.verdict(&out);
            return self.finish_with(leave, &verdict, &quote_spanned!(mixed=> __verdict));
        }
        let (before, rule) = (self.before_verdict(&out), self.ruling("rule"));
        self.finish_with(leave, &before, &quote_spanned!(mixed=> #krate::__rt::#rule!(of #out)))
    }

    /// Returns the code that runs `before`, classifies `__out` by `rule`, and returns it or retries.
    pub(super) fn finish_with(&self, leave: &Leave, before: &TokenStream, rule: &TokenStream) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let (returned, failed) = (self.returned(), self.failed());
        let end = quote_spanned! {mixed=>
            __call.finish_as(&__out, #rule, #krate::__rt::wording!(&__out))
        };
        match leave {
            Leave::Loop if self.args.fallback.is_none() => quote_spanned! {mixed=>
                #before
                match #end {
                    #krate::__rt::Next::Retry => {}
                    _ => break #returned,
                }
            },
            Leave::Loop => quote_spanned! {mixed=>
                #before
                match #end {
                    #krate::__rt::Next::Return => break #returned,
                    #krate::__rt::Next::Fail => break #failed,
                    #krate::__rt::Next::Retry => {}
                }
            },
            Leave::Block if self.args.fallback.is_some() => quote_spanned! {mixed=>
                #before
                match #end {
                    #krate::__rt::Next::Fail => #failed,
                    _ => #returned,
                }
            },
            Leave::Block => quote_spanned! {mixed=>
                #before
                let _ = #end;
                #returned
            },
        }
    }

    /// Returns the checks of the outcome type that precede any rule. `out` is a reference to the outcome.
    fn before_verdict(&self, out: &TokenStream) -> TokenStream {
        if self.args.fallback.is_some() || self.args.can_reject() {
            return self.settled(out);
        }
        let assert = self.runtime_at_output("assert_outcome");
        // rustc underlines the argument, so it gets the span of the return type.
        let out = quote_spanned!(self.output_ends().0=> &__out);
        quote_spanned!(Span::mixed_site()=> #assert(#out);)
    }

    /// Binds `__verdict`; `out` is a reference to the outcome.
    pub(super) fn verdict(&self, out: &TokenStream) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let (before, judge) = (self.before_verdict(out), self.ruling("judge"));
        let mut verdict = quote_spanned!(mixed=> #before let __verdict = #krate::__rt::#judge!(#out););
        if let Some(failure) = &self.args.failure {
            verdict.extend(self.ruled("failure", &failure.value, out));
        }
        verdict.extend(self.predicates(out));
        verdict
    }

    /// Returns the name of the macro that classifies an outcome or returns its rule.
    fn ruling(&self, name: &str) -> Ident {
        let name = if self.error_is_static() { format!("{name}_static") } else { name.to_owned() };
        Ident::new(&name, Span::mixed_site())
    }

    fn predicates(&self, out: &TokenStream) -> TokenStream {
        let mut verdict = TokenStream::new();
        if let Some(counts) = &self.args.counts {
            verdict.extend(self.ruled("counts", &counts.value, out));
        }
        if let Some(when) = self.args.retry.as_ref().and_then(|retry| retry.when.as_ref()) {
            verdict.extend(self.ruled("when", &when.value, out));
        }
        verdict
    }

    /// Returns the check that the outcome is not a future. With a fallback, a value of any other type is a success.
    fn settled(&self, out: &TokenStream) -> TokenStream {
        if self.args.fallback.is_none() {
            return TokenStream::new();
        }
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        // rustc underlines the argument, so it gets the span of the return type.
        let place = self.output_ends().0;
        let state = quote_spanned!(place=> (&&#krate::__rt::Settled::of(#out)).state());
        quote_spanned! {mixed=> {
            use #krate::__rt::settling::*;
            #krate::__rt::settled(#state, #out);
        }}
    }

    /// Returns the code that applies a predicate of the user to the verdict.
    ///
    /// All tokens of the call get spans of the predicate, because rustc underlines from the first to the last one.
    fn ruled(&self, rule: &str, predicate: &Expr, out: &TokenStream) -> TokenStream {
        let (mixed, place) = (Span::mixed_site(), ends(predicate));
        let rule = runtime_at(self.krate(), rule, place);
        let so_far = quote_spanned!(mixed=> #out, __verdict);
        // An argument must remain available for the next attempt.
        let borrow =
            (self.args.repeats() && self.is_argument(predicate)).then(|| quote_spanned!(place.0=> &));
        let call = quote_spanned!(place.1=> #rule(#so_far, #borrow #predicate));
        quote_spanned!(mixed=> let __verdict = #call;)
    }

    fn is_argument(&self, expr: &Expr) -> bool {
        let Expr::Path(path) = expr else { return false };
        let arguments = bindings(&self.function.sig, self.shape);
        path.path.get_ident().is_some_and(|ident| arguments.iter().any(|argument| argument.ident == *ident))
    }

    /// Returns the value of a successful call.
    pub(super) fn returned(&self) -> TokenStream {
        let mixed = Span::mixed_site();
        match &self.args.fallback {
            Some(_) => quote_spanned!(mixed=> ::core::result::Result::Ok(__out)),
            None => self.out(),
        }
    }

    /// Returns `__out` with the span of the return type, where rustc reports lifetime errors.
    fn out(&self) -> TokenStream {
        quote_spanned!(self.output_ends().0=> __out)
    }

    /// Returns the value of a failed call.
    fn failed(&self) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        match &self.args.fallback {
            Some(_) => {
                quote_spanned!(mixed=> ::core::result::Result::Err(#krate::__rt::into_failure!(__out)))
            }
            None => self.out(),
        }
    }

    /// Returns the value of a call that was rejected or timed out.
    pub(super) fn rejected(&self) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        if self.args.fallback.is_some() {
            return quote_spanned! {mixed=>
                ::core::result::Result::Err(#krate::__rt::Failure::Rejected(__rejection))
            };
        }
        if let Some(map_err) = &self.args.map_err {
            let map = &map_err.value;
            let place = ends(map);
            let with = runtime_at(krate, "reject_with", place);
            let rejection = quote_spanned!(mixed=> __rejection);
            return quote_spanned!(place.1=> #with::<#output, _>(#rejection, #map));
        }
        let reject = self.runtime_at_error("reject");
        quote_spanned!(mixed=> #reject::<#output>(__rejection))
    }
}

/// The construct that contains the attempt.
pub(super) enum Leave {
    /// The loop of a retry.
    Loop,
    /// A block that runs once.
    Block,
}

impl Leave {
    pub(super) fn with(&self, value: &TokenStream) -> TokenStream {
        let mixed = Span::mixed_site();
        match self {
            Self::Loop => quote_spanned!(mixed=> break #value),
            Self::Block => quote_spanned!(mixed=> break '__attempt #value),
        }
    }
}

/// Returns the variant of `Priority` for a word.
fn class(word: &str) -> Option<&'static str> {
    match word {
        "critical" => Some("Critical"),
        "high" => Some("High"),
        "normal" => Some("Normal"),
        "low" => Some("Low"),
        _ => None,
    }
}
