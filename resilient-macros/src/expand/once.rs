//! Generates idempotency by key.
//!
//! ```text
//! match call.claim(&key, fingerprint).await {
//!     Ok(Replay(stored)) => the outcome of the call that had the key,
//!     Ok(Run(lease)) => {
//!         let ran = held(lease, ATTEMPTS).await;      // renews the lease
//!         call.conclude(lease, codec, outcome of ran).await;
//!         ran
//!     }
//!     Err(rejection) => reject(rejection),
//! }
//! ```

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::Expr;

use super::{Binding, Writer, bindings};
use crate::args::Once;
use crate::spans::{ends, located, runtime_at};

impl Writer<'_> {
    /// Returns `attempts`, or code that runs them only if no call with the key has run.
    pub(super) fn once(&self, attempts: &TokenStream) -> TokenStream {
        let Some(once) = &self.args.once else {
            return attempts.clone();
        };
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let (returned, rejected) = (self.returned(), self.rejected());
        let codec = self.codec();
        if let Some(transaction) = &once.transaction {
            return self.once_in(once, &transaction.value, attempts);
        }
        // A value that did not come from a fallback (T114).
        let outcome = match &self.args.fallback {
            Some(_) => quote_spanned!(mixed=> __ran.as_ref().ok()),
            None => quote_spanned!(mixed=> ::core::option::Option::Some(&__ran)),
        };
        let claim = self.claim(once, None);
        let (claimed, ran, conclude) = if self.shape.is_async() {
            (
                quote_spanned!(mixed=> match __claim {
                    ::core::option::Option::Some(__claim) => __claim.await,
                    ::core::option::Option::None => {
                        ::core::result::Result::Ok(#krate::__rt::ClaimOutcome::Run(::core::option::Option::None))
                    }
                }),
                quote_spanned!(mixed=> #krate::__rt::held_async(__lease.as_ref(), async { #attempts }).await),
                quote_spanned!(mixed=> __call.conclude(__lease, __codec, #outcome).await),
            )
        } else {
            (
                quote_spanned! {mixed=>
                    __claim.unwrap_or(::core::result::Result::Ok(#krate::__rt::ClaimOutcome::Run(::core::option::Option::None)))
                },
                quote_spanned!(mixed=> #krate::__rt::held(__lease.as_ref(), || #attempts)),
                quote_spanned!(mixed=> __call.conclude_blocking(__lease, __codec, #outcome)),
            )
        };
        quote_spanned! {mixed=> {
            let __codec = #codec;
            let __has_key;
            let __claimed = {
                #claim
                __has_key = __claim.is_some();
                #claimed
            };
            match __claimed {
                ::core::result::Result::Ok(#krate::__rt::ClaimOutcome::Replay(__stored)) => {
                    match __call.replay(&__stored, __codec) {
                        ::core::result::Result::Ok(__out) => #returned,
                        ::core::result::Result::Err(__rejection) => #rejected,
                    }
                }
                ::core::result::Result::Ok(#krate::__rt::ClaimOutcome::Run(__lease)) => {
                    let __ran = #ran;
                    if __has_key {
                        #conclude;
                    } else {
                        __call.without_key();
                    }
                    __ran
                }
                ::core::result::Result::Err(__rejection) => #rejected,
            }
        }}
    }

    /// Like `once`, with the record in the transaction of the caller.
    ///
    /// The transaction is borrowed before and after the attempts. A result that could not be stored is an error, so that the
    /// caller rolls back.
    fn once_in(&self, once: &Once, transaction: &Expr, attempts: &TokenStream) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let (returned, rejected) = (self.returned(), self.rejected());
        let codec = self.codec();
        let (place, connection) = (ends(transaction), runtime_at(krate, "connection", ends(transaction)));
        let borrow = quote_spanned!(place.0=> &mut *#transaction);
        let borrow = quote_spanned!(place.1=> #connection(#borrow));
        let claim = self.claim(once, Some(&borrow));
        quote_spanned! {mixed=> {
            let __codec = #codec;
            let __has_key;
            let __claimed = {
                #claim
                __has_key = __claim.is_some();
                match __claim {
                    ::core::option::Option::Some(__claim) => __claim.await,
                    ::core::option::Option::None => {
                        ::core::result::Result::Ok(#krate::__rt::TransactionClaim::Run(::core::option::Option::None))
                    }
                }
            };
            match __claimed {
                ::core::result::Result::Ok(#krate::__rt::TransactionClaim::Replay(__stored)) => {
                    match __call.replay(&__stored, __codec) {
                        ::core::result::Result::Ok(__out) => #returned,
                        ::core::result::Result::Err(__rejection) => #rejected,
                    }
                }
                ::core::result::Result::Ok(#krate::__rt::TransactionClaim::Run(__lease)) => {
                    let __ran = async { #attempts }.await;
                    if __has_key {
                        match __call.conclude_in(__lease, __codec, &__ran, #borrow).await {
                            ::core::result::Result::Ok(()) => __ran,
                            ::core::result::Result::Err(__rejection) => #rejected,
                        }
                    } else {
                        __call.without_key();
                        __ran
                    }
                }
                ::core::result::Result::Err(__rejection) => #rejected,
            }
        }}
    }

    /// Returns the codec of the outcome.
    fn codec(&self) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let codec = quote_spanned!(self.output_ends().0=> codec);
        quote_spanned! {mixed=> {
            use #krate::__rt::keeping::*;
            let __codec = (&&&#krate::__rt::Codecs::<#output>::new()).#codec();
            (&&&#krate::__rt::Codecs::<#output>::new()).compared(__codec)
        }}
    }

    /// Binds `__claim`, which is `None` without a key. The key is formatted before any `.await`, so that the future
    /// does not hold it.
    fn claim(&self, once: &Once, transaction: Option<&TokenStream>) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let key = &once.by.value;
        let borrow = quote_spanned!(ends(key).0=> &(#key));
        let print = self.fingerprint(once);
        let shown = runtime_at(krate, "shown", ends(key));
        let given = quote_spanned!(ends(key).1=> __key);
        let display = quote_spanned!(ends(key).1=> #shown(#given));
        let within = transaction.map(|transaction| quote_spanned!(mixed=> , #transaction));
        let method = if transaction.is_some() {
            quote_spanned!(mixed=> claim_in)
        } else if self.shape.is_async() {
            quote_spanned!(mixed=> claim)
        } else {
            quote_spanned!(mixed=> claim_blocking)
        };
        quote_spanned! {mixed=>
            let __claim = {
                use #krate::__rt::keying::*;
                match (&&#krate::__rt::KeyOf(#borrow)).key() {
                    ::core::option::Option::Some(__key) => {
                        let __print = #print;
                        let __key: &dyn ::core::fmt::Display = #display;
                        ::core::option::Option::Some(
                            __call.#method(__key, #krate::__rt::Fingerprint::from(__print) #within),
                        )
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                }
            };
        }
    }

    /// Returns the fingerprint: of `fingerprint = ..`, or of all arguments except `self`.
    fn fingerprint(&self, once: &Once) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let mut prints = quote_spanned!(mixed=> #krate::__rt::Prints::NONE);
        match &once.fingerprint {
            Some(print) if is_word(&print.value, "none") => {}
            Some(print) => {
                let (place, expr) = (ends(&print.value), &print.value);
                let with = runtime_at(krate, "print", place);
                let borrow = quote_spanned!(place.0=> &(#expr));
                prints = quote_spanned!(place.1=> #with(#prints, #borrow));
            }
            None => {
                let all = bindings(&self.function.sig, self.shape);
                // The registry and the transaction are not part of the payload.
                let registry = self.args.registry.as_ref().map(|registry| &registry.value);
                let transaction = once.transaction.as_ref().map(|transaction| &transaction.value);
                let is_payload = |binding: &&Binding| {
                    ![registry, transaction].into_iter().flatten().any(|it| is_word(it, &binding.ident))
                };
                for binding in all.iter().filter(is_payload) {
                    let (ident, place) = (&binding.ident, ends(&binding.ident));
                    let with = runtime_at(krate, "print", place);
                    let argument = quote_spanned!(located(ident.span())=> &#ident);
                    let cfgs = &binding.cfgs;
                    prints = if cfgs.is_empty() {
                        quote_spanned!(located(ident.span())=> #with(#prints, #argument))
                    } else {
                        quote_spanned! {mixed=> {
                            let __print = #prints;
                            #(#cfgs)*
                            let __print = #with(__print, #argument);
                            __print
                        }}
                    };
                }
            }
        }
        prints
    }
}

/// Returns whether an expression is only this word.
fn is_word<W: ?Sized>(expr: &Expr, word: &W) -> bool
where
    Ident: PartialEq<W>,
{
    matches!(expr, Expr::Path(path) if path.path.get_ident().is_some_and(|ident| ident == word))
}
