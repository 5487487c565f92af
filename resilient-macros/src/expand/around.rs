//! What surrounds an attempt: admission, judgement, repetition.
//!
//! ```text
//! let mut call = Call::begin(SITE.pipeline());
//! loop {                                          // only with `retry`
//!     if let Err(rejection) = admission {         // after the pause before a retry, and the bulkhead's queue
//!         break reject(rejection);
//!     }
//!     let out = BODY;                             // in place, once
//!     match call.finish_with(judge!(&out), |words| describe!(&out, words)) {
//!         Return => break out, Fail => break out, Retry => {}
//!     }
//! }
//! ```
//!
//! Each point at which a future can be suspended costs time to compile, and size: there are two, admission and the
//! body.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Expr, Token, Type};

use super::{Writer, bindings, has_hole};
use crate::spans::{ends, located, runtime_at};

impl Writer<'_> {
    /// The whole new body behind the site: `attempt` is the old body as a closure or an `async` block.
    pub(super) fn call(&self, attempt: &TokenStream) -> TokenStream {
        let (moved, begin) = (self.moved(), self.begin());
        let begin = quote!(#moved #begin);
        let attempts = self.shared(&self.once(&self.attempts(attempt)));
        // With `return`, which clippy misses where everybody has to write it, and does not mind in a macro.
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
                // The type makes it a borrow, however the registry is held: by reference, `Arc`, in a field.
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

    /// Says when the call arrived.
    fn arrived(&self, begin: &TokenStream) -> TokenStream {
        let arrived_at = self.args.load_shed.as_ref().and_then(|shed| shed.arrived_at.as_ref()).map(|at| {
            let at = &at.value;
            quote_spanned!(ends(at).0=> __call.set_arrived_at(#at);)
        });
        quote!(#begin #arrived_at)
    }

    /// Says by whose rate limit the call goes, and for how many it counts.
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
            // Each of its attempts is admitted for itself.
            self.hedged(attempt, &leave)
        } else {
            let (admission, run) = (self.admission(&leave), self.run(attempt, &leave));
            quote!(#admission #run)
        };
        let Some(retry) = &self.args.retry else { return quote_spanned!(mixed=> '__attempt: { #run }) };
        // rustc's "inside of this loop" then underlines the word `retry` in the attribute.
        let keyword = Token![loop](located(retry.policy.key.span()));
        let needed_again = self.needed_again();
        quote_spanned!(mixed=> #keyword { #needed_again #run })
    }

    /// Goes on behind this if the stages admit the attempt. Nothing of it lives on: that would be part of the future.
    fn admission(&self, leave: &Leave) -> TokenStream {
        let mixed = Span::mixed_site();
        if !self.args.can_reject() {
            let pause = match leave {
                Leave::Block => TokenStream::new(),
                Leave::Loop if self.shape.is_async() => quote_spanned! {mixed=>
                    if __call.must_pause() { __call.pause().await; }
                },
                Leave::Loop => quote_spanned!(mixed=> __call.pause_blocking();),
            };
            return quote_spanned!(mixed=> #pause __call.begin_attempt(););
        }
        let rejected = self.refused(leave);
        let can_wait =
            self.args.bulkhead.is_some() || self.args.rate_limit.is_some() || matches!(leave, Leave::Loop);
        if !self.shape.is_async() || !can_wait {
            return quote_spanned! {mixed=>
                if let ::core::result::Result::Err(__rejection) = __call.enter_blocking() { #rejected }
            };
        }
        quote_spanned! {mixed=>
            if !__call.enter() {
                if let ::core::result::Result::Err(__rejection) = __call.enter_later().await { #rejected }
            }
        }
    }

    /// The attempt and what comes after it.
    fn run(&self, attempt: &TokenStream, leave: &Leave) -> TokenStream {
        let (copies, mixed) = (self.copies, Span::mixed_site());
        let finish = self.finish(leave);
        if self.args.threads().is_some() {
            return self.run_in_pool(attempt, leave);
        }
        if !self.shape.is_async() {
            return quote_spanned! {mixed=>
                #copies
                let __out = __call.attempt_sync(#attempt);
                #finish
            };
        }
        if self.args.timeout.is_none() {
            return quote_spanned! {mixed=>
                #copies
                let __out = __call.attempt_untimed(#attempt).await;
                #finish
            };
        }
        let cut_off = self.cut_off(leave);
        quote_spanned! {mixed=>
            #copies
            match __call.attempt(#attempt).await {
                ::core::result::Result::Ok(__out) => { #finish }
                ::core::result::Result::Err(__rejection) => #cut_off,
            }
        }
    }

    /// The attempt on a thread of the bulkhead. What is wrong with what it captures is blamed on the word `threads`.
    fn run_in_pool(&self, attempt: &TokenStream, leave: &Leave) -> TokenStream {
        let (copies, mixed) = (self.copies, Span::mixed_site());
        let (finish, cut_off) = (self.finish(leave), self.cut_off(leave));
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
                ::core::result::Result::Err(__rejection) => #cut_off,
            }
        }
    }

    /// What comes after an attempt that was cut off.
    fn cut_off(&self, leave: &Leave) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        if !self.hears_timeouts() {
            // Neither a retry nor a breaker asks what it means.
            let rejected = self.rejected();
            return quote_spanned!(mixed=> { let _ = __call.timed_out(&__rejection); #rejected });
        }
        let (heard, value) = self.heard();
        match leave {
            Leave::Block => quote_spanned! {mixed=>
                { #heard let _ = __call.timed_out_as(&__rejection, __verdict); #value }
            },
            Leave::Loop => quote_spanned! {mixed=> {
                #heard
                if let #krate::__rt::Next::Fail = __call.timed_out_as(&__rejection, __verdict) { break #value; }
            }},
        }
    }

    /// What comes after a refusal: the end, or the next attempt at being admitted.
    fn refused(&self, leave: &Leave) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let asks = self.args.rate_limit.is_some()
            || self.args.retry.as_ref().is_some_and(|retry| retry.when.is_some());
        if !asks || !matches!(leave, Leave::Loop) {
            // Nothing says when to come again, and nobody insists.
            let rejected = leave.with(&self.rejected());
            return quote_spanned!(mixed=> #rejected;);
        }
        let (heard, value) = self.heard();
        quote_spanned! {mixed=>
            #heard
            match __call.refused(&__rejection, || __verdict) {
                #krate::__rt::Next::Retry => continue,
                _ => break #value,
            }
        }
    }

    /// Whether anything acts on what the error of a timeout says.
    pub(super) fn hears_timeouts(&self) -> bool {
        self.args.retry.is_some() || self.args.circuit_breaker.is_some()
    }

    /// Judges what `__rejection` becomes: binds `__verdict`; and the value to return. What is returned is made once, and
    /// judged as it is.
    pub(super) fn heard(&self) -> (TokenStream, TokenStream) {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let unknown = quote_spanned!(mixed=> #krate::__rt::Judgement::from(#krate::__rt::Class::UNKNOWN));
        let refused = quote_spanned!(mixed=> &__refused);
        let rules = self.rules(&refused);
        // Of a type that is not written out nothing is known before its values are.
        if matches!(output, Type::Infer(_)) || (self.args.fallback.is_some() && has_hole(output)) {
            return (quote_spanned!(mixed=> let __verdict = #unknown;), self.rejected());
        }
        if self.args.fallback.is_none() {
            let rejected = self.rejected();
            let value = quote_spanned!(self.output_ends().0=> __refused);
            let heard = quote_spanned! {mixed=>
                let __refused: #output = {
                    let __rejection = <#krate::__rt::Rejection as ::core::clone::Clone>::clone(&__rejection);
                    #rejected
                };
                #rules
            };
            return (heard, value);
        }
        let refused = match &self.args.map_err {
            Some(map_err) => {
                let map = &map_err.value;
                let place = ends(map);
                let with = runtime_at(krate, "reject_with", place);
                let rejection = quote_spanned!(mixed=> <#krate::__rt::Rejection as ::core::clone::Clone>::clone(&__rejection));
                let made = quote_spanned!(place.1=> #with::<#output, _>(#rejection, #map));
                quote_spanned!(mixed=> ::core::option::Option::Some(#made))
            }
            None => quote_spanned!(mixed=> #krate::__rt::rejected!(#output, &__rejection)),
        };
        let heard = quote_spanned! {mixed=>
            let __verdict = match #refused {
                ::core::option::Option::Some(__refused) => { #rules __verdict }
                ::core::option::Option::None => #unknown,
            };
        };
        (heard, self.rejected())
    }

    /// Judges `__out`; leaves with it, or goes round again.
    fn finish(&self, leave: &Leave) -> TokenStream {
        let out = quote_spanned!(Span::mixed_site()=> &__out);
        self.finish_with(leave, &self.verdict(&out))
    }

    /// Behind `verdict`, which binds `__verdict`.
    pub(super) fn finish_with(&self, leave: &Leave, verdict: &TokenStream) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let (returned, failed) = (self.returned(), self.failed());
        // The words are asked for only where it failed.
        let end = quote_spanned! {mixed=>
            __call.finish_with(__verdict, |__words| #krate::__rt::describe!(&__out, __words))
        };
        match leave {
            Leave::Loop if self.args.fallback.is_none() => quote_spanned! {mixed=>
                #verdict
                match #end {
                    #krate::__rt::Next::Retry => {}
                    _ => break #returned,
                }
            },
            Leave::Loop => quote_spanned! {mixed=>
                #verdict
                match #end {
                    #krate::__rt::Next::Return => break #returned,
                    #krate::__rt::Next::Fail => break #failed,
                    #krate::__rt::Next::Retry => {}
                }
            },
            Leave::Block if self.args.fallback.is_some() => quote_spanned! {mixed=>
                #verdict
                match #end {
                    #krate::__rt::Next::Fail => #failed,
                    _ => #returned,
                }
            },
            Leave::Block => quote_spanned! {mixed=>
                #verdict
                let _ = #end;
                #returned
            },
        }
    }

    /// Binds `__verdict`; `out` is a reference to the outcome.
    pub(super) fn verdict(&self, out: &TokenStream) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let bound = if self.args.fallback.is_none() && !self.args.can_reject() {
            let assert = self.runtime_at_output("assert_outcome");
            // rustc blames the argument, so that stands at the return type, too.
            let out = quote_spanned!(self.output_ends().0=> &__out);
            quote_spanned!(mixed=> #assert(#out);)
        } else {
            TokenStream::new()
        };
        let (settled, judge) = (self.settled(out), self.judge());
        let mut verdict =
            quote_spanned!(mixed=> #bound #settled let __verdict = #krate::__rt::#judge!(#out););
        if let Some(failure) = &self.args.failure {
            verdict.extend(self.ruled("failure", &failure.value, out));
        }
        verdict.extend(self.predicates(out));
        verdict
    }

    /// Binds `__verdict` for the outcome that a refusal became.
    fn rules(&self, out: &TokenStream) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let (judge, predicates) = (self.judge(), self.predicates(out));
        quote_spanned!(mixed=> let __verdict = #krate::__rt::#judge!(#out); #predicates)
    }

    /// The macro that judges an outcome.
    fn judge(&self) -> Ident {
        Ident::new(if self.error_is_static() { "judge_static" } else { "judge" }, Span::mixed_site())
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

    /// A value of any type is a success where there is a fallback; but a future says nothing yet, whatever it is called.
    fn settled(&self, out: &TokenStream) -> TokenStream {
        if self.args.fallback.is_none() {
            return TokenStream::new();
        }
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        // rustc blames the argument, so that stands at the return type.
        let place = self.output_ends().0;
        let state = quote_spanned!(place=> (&&#krate::__rt::Settled::of(#out)).state());
        quote_spanned! {mixed=> {
            use #krate::__rt::settling::*;
            #krate::__rt::settled(#state, #out);
        }}
    }

    /// The verdict after a predicate of the user. All of the call stands where that does: rustc blames what is
    /// between its first token and its last.
    fn ruled(&self, rule: &str, predicate: &Expr, out: &TokenStream) -> TokenStream {
        let (mixed, place) = (Span::mixed_site(), ends(predicate));
        let rule = runtime_at(self.krate(), rule, place);
        let so_far = quote_spanned!(mixed=> #out, __verdict);
        // An argument must be there for the next attempt, too.
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

    /// The value of a call that succeeded.
    pub(super) fn returned(&self) -> TokenStream {
        let mixed = Span::mixed_site();
        match &self.args.fallback {
            Some(_) => quote_spanned!(mixed=> ::core::result::Result::Ok(__out)),
            None => self.out(),
        }
    }

    /// `__out`, whose lifetimes rustc checks here: blamed on the return type.
    fn out(&self) -> TokenStream {
        quote_spanned!(self.output_ends().0=> __out)
    }

    /// The value of a call that failed.
    fn failed(&self) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        match &self.args.fallback {
            Some(_) => {
                quote_spanned!(mixed=> ::core::result::Result::Err(#krate::__rt::into_failure!(__out)))
            }
            None => self.out(),
        }
    }

    /// The value of a call that was refused or cut off.
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

/// What the attempt stands in.
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

/// The variant of `Priority` that a bare word stands for.
fn class(word: &str) -> Option<&'static str> {
    match word {
        "critical" => Some("Critical"),
        "high" => Some("High"),
        "normal" => Some("Normal"),
        "low" => Some("Low"),
        _ => None,
    }
}
