//! Generates the fallback levels that handle a failure.
//!
//! ```text
//! let key = leveled.key(..);                      // only with a built-in cache
//! match { ATTEMPTS } {
//!     Ok(out) => { keep!(key, &out); out }
//!     Err(failure) => 'levels: {
//!         match {                                 // for each level except a default
//!             match call.enter_level(LEVEL) { Ok(asking) => Ok(ANSWER), Err(none) => Err(none) }
//!         } {
//!             Ok(out) if answered => { call.level_served(..); break 'levels mark!(out, ..) }
//!             last => call.level_failed(LEVEL),   // after the last level: `none`
//!         }
//!     }
//! }
//! ```

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Expr, Type};

use super::Writer;
use crate::args::{Answer, BuiltInCache, Fallback, Level, ReplicaRead, is_async};
use crate::shape::tokens;
use crate::spans::{ends, located, runtime_at};

/// How a level is evaluated.
enum Evaluated {
    /// Synchronously, to the function's return type.
    Now(TokenStream),
    /// Asynchronously: statements, then a future, and the span for rustc errors.
    Later(TokenStream, TokenStream, Span),
}

impl Writer<'_> {
    /// Returns the code that evaluates `attempts` and handles its failure with the fallback.
    pub(super) fn with_fallback(&self, fallback: &Fallback, attempts: &TokenStream) -> TokenStream {
        let (answer, mixed) = (self.fall_back(fallback), Span::mixed_site());
        let caches: Vec<_> = fallback.caches().collect();
        if caches.is_empty() {
            return quote_spanned! {mixed=>
                match { #attempts } {
                    ::core::result::Result::Ok(__out) => __out,
                    ::core::result::Result::Err(__failure) => { #answer }
                }
            };
        }
        let krate = self.krate();
        let keys = caches.iter().map(|cache| self.cache_key(cache));
        let keep = caches.iter().map(|cache| {
            if cache.is_local() {
                quote_spanned!(mixed=> #krate::__rt::keep!(&__call, __key, &__out);)
            } else {
                quote_spanned!(mixed=> #krate::__rt::distribute!(&__call, &__store_key, &__out);)
            }
        });
        let watched = if self.shape.is_async() {
            quote_spanned!(mixed=> #krate::__rt::CollectReasons::new(async { #attempts }).await)
        } else {
            quote_spanned! {mixed=> {
                let __watch = #krate::__rt::ReasonCollector::begin();
                let __out = { #attempts };
                (__out, __watch.end())
            }}
        };
        quote_spanned! {mixed=> {
            #(#keys)*
            match #watched {
                (::core::result::Result::Ok(__out), __seen) => {
                    // A result computed from degraded results is not stored as a good result (T114).
                    if __seen.is_none() && !#krate::__rt::is_marked!(&__out) {
                        #(#keep)*
                    }
                    __out
                }
                (::core::result::Result::Err(__failure), _) => { #answer }
            }
        }}
    }

    /// Binds the key of a built-in cache: `__key` or `__store_key`.
    fn cache_key(&self, cache: &BuiltInCache) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let place = located(cache.word.span());
        // rustc errors about a type that cannot be stored point to that type.
        let at = self.output_ends().0;
        // The type of a closure contains the type parameters of the function.
        let (bound, make_key, owner) = if cache.is_local() {
            let owner = quote_spanned!(mixed=> (&__RESILIENT_SITE, #krate::__rt::path_of(&|| ())));
            (quote_spanned!(mixed=> __key), quote_spanned!(at=> key), owner)
        } else {
            let owner = quote_spanned!(mixed=> #krate::__rt::path_with_types(&|| ()));
            (quote_spanned!(mixed=> __store_key), quote_spanned!(at=> store_key), owner)
        };
        let key = match &cache.key {
            Some(key) => {
                let key = &key.value;
                quote_spanned!(ends(key).0=> &(#key))
            }
            None => quote_spanned!(mixed=> &()),
        };
        let leveled = quote_spanned!(place=> (&&&#krate::__rt::Leveled::<#output>::new()));
        quote_spanned! {mixed=>
            let #bound = {
                use #krate::__rt::leveling::*;
                #leveled.#make_key(&__call, #owner, #key)
            };
        }
    }

    /// Returns the code that computes the result for `__failure`.
    fn fall_back(&self, fallback: &Fallback) -> TokenStream {
        let mixed = Span::mixed_site();
        let last = fallback.levels.len().saturating_sub(1);
        let levels = fallback.levels.iter().enumerate().map(|(index, level)| match &level.answer {
            Answer::Code(answer) if level.variant == "Default" => {
                self.default_level(answer, fallback.is_single)
            }
            Answer::Code(answer) => self.level_of_code(level, answer, index == last),
            Answer::Cache(cache) => self.level_of_cache(cache, level, index == last),
            Answer::Replica(replica) => self.level_of_replica(replica, level, index == last),
        });
        let why = self.why();
        quote_spanned!(mixed=> #why #[allow(unreachable_code)] '__levels: { #(#levels)* })
    }

    /// Binds `__why`: the failure as text, if anything uses it.
    fn why(&self) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        // Nothing is known about an opaque type.
        let marks = if has_hole(output) {
            quote!(false)
        } else {
            quote_spanned!(mixed=> #krate::__rt::can_be_marked!(#output))
        };
        quote_spanned! {mixed=>
            let __why = if __call.is_watched() || #marks {
                ::core::option::Option::Some(__call.may_tell(&#krate::__rt::why!(&__failure)))
            } else {
                ::core::option::Option::None
            };
        }
    }

    /// Returns the code for a default, which has no time limit and no level after it.
    fn default_level(&self, answer: &Expr, by_value: bool) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let level = self.level("Default");
        let out = match self.evaluated(answer, by_value) {
            Evaluated::Now(answer) => self.at_once(&answer),
            // Without a time limit, there is always a result.
            Evaluated::Later(before, future, place) => {
                let asked = quote_spanned!(place=> __call.ask_default(__asking, #future).await);
                quote_spanned!(mixed=> #before let __out: #output = #asked;)
            }
        };
        let served = self.served("Default", &quote!(::core::option::Option::None));
        let failed = if by_value {
            quote_spanned!(mixed=> __out)
        } else {
            quote_spanned!(mixed=> #krate::__rt::all_failed!(__failure, __out, #level))
        };
        quote_spanned! {mixed=>
            #[allow(unused_mut)]
            let mut __asking = __call.enter_default();
            #out
            if #krate::__rt::judge!(&__out) == #krate::__rt::Verdict::Success {
                #served
            }
            __call.level_failed(#level);
            #failed
        }
    }

    fn level_of_code(&self, level: &Level, answer: &Expr, is_last: bool) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let variant = self.level(level.variant);
        let answer = match self.evaluated(answer, false) {
            Evaluated::Now(answer) => {
                let at_once = self.at_once(&answer);
                quote_spanned!(mixed=> #at_once ::core::result::Result::Ok(__out))
            }
            Evaluated::Later(before, future, place) => {
                let asked = quote_spanned!(place=> __call.ask(__asking, #future).await);
                quote_spanned!(mixed=> #before #asked)
            }
        };
        let asked = quote_spanned! {mixed=>
            let __last: ::core::result::Result<#output, #krate::__rt::NoAnswer> =
                match __call.enter_level(#variant) {
                    #[allow(unused_mut)]
                    ::core::result::Result::Ok(mut __asking) => { #answer }
                    ::core::result::Result::Err(__none) => ::core::result::Result::Err(__none),
                };
        };
        let served = self.served(level.variant, &quote!(::core::option::Option::None));
        let failed = self.failed_level(level.variant, is_last);
        quote_spanned! {mixed=> {
            #asked
            match __last {
                ::core::result::Result::Ok(__out)
                    if #krate::__rt::judge!(&__out) == #krate::__rt::Verdict::Success => { #served }
                __last => { #failed }
            }
        }}
    }

    fn level_of_cache(&self, cache: &BuiltInCache, level: &Level, is_last: bool) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let outcome = quote_spanned!(mixed=> #krate::__rt::outcome_of!(#output));
        let found = match (cache.is_local(), self.shape.is_async()) {
            (true, _) => quote_spanned!(mixed=> #krate::__rt::last_good!(&mut __call, __key, #output)),
            (false, true) => quote_spanned!(mixed=> __store_key.find(&mut __call, #outcome).await),
            (false, false) => quote_spanned!(mixed=> __store_key.find_blocking(&mut __call, #outcome)),
        };
        let served = self.served(level.variant, &quote_spanned!(mixed=> __age));
        let failed = self.failed_level(level.variant, is_last);
        quote_spanned! {mixed=>
            match #found {
                ::core::result::Result::Ok((__out, __age)) => { #served }
                ::core::result::Result::Err(__none) => {
                    let __last: ::core::result::Result<#output, #krate::__rt::NoAnswer> =
                        ::core::result::Result::Err(__none);
                    #failed
                }
            }
        }
    }

    fn level_of_replica(&self, replica: &ReplicaRead, level: &Level, is_last: bool) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let ReplicaRead { set, key } = replica;
        let (variant, key) = (self.level(level.variant), &key.value);
        // rustc errors about a set that is none, has other values, or about a key without a text, point to them.
        let (set_at, key_at) = (ends(set), ends(key));
        let (read, text) = (runtime_at(krate, "read_replica", set_at), runtime_at(krate, "key_text", key_at));
        let text = quote_spanned!(key_at.0=> #text(&(#key)));
        let set = quote_spanned!(set_at.0=> &(#set));
        let read = quote_spanned!(set_at.1=> #read::<#output, _>(#set, &__key));
        let served = self.served(level.variant, &quote!(::core::option::Option::None));
        let failed = self.failed_level(level.variant, is_last);
        quote_spanned! {mixed=> {
            let __last: ::core::result::Result<#output, #krate::__rt::NoAnswer> =
                match __call.enter_level(#variant) {
                    #[allow(unused_mut)]
                    ::core::result::Result::Ok(mut __asking) => {
                        // The key itself is not held across the await.
                        let __key = #text;
                        let __found = __call.ask(__asking, #read).await;
                        __call.replica_found(__found)
                    }
                    ::core::result::Result::Err(__none) => ::core::result::Result::Err(__none),
                };
            match __last {
                ::core::result::Result::Ok(__out) => { #served }
                __last => { #failed }
            }
        }}
    }

    /// Returns the code for a level that returned the result `__out`.
    fn served(&self, variant: &str, age: &TokenStream) -> TokenStream {
        let (krate, level, mixed) = (self.krate(), self.level(variant), Span::mixed_site());
        // It is unknown whether a type that is not written out can be marked.
        let out = if has_hole(self.output) {
            quote_spanned!(mixed=> __out)
        } else {
            quote_spanned!(mixed=> #krate::__rt::mark!(__out, #level, #age, __why.as_ref()))
        };
        quote_spanned! {mixed=>
            __call.level_served(#level, #age, __why.as_ref());
            break '__levels #out;
        }
    }

    /// Returns the code for a level that failed with `__last`.
    fn failed_level(&self, variant: &str, is_last: bool) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let level = self.level(variant);
        let all_failed = is_last.then(|| {
            // rustc errors about a type without a failure value point to that type.
            let none = quote_spanned!(self.output_ends().0=> none);
            quote_spanned! {mixed=>
                break '__levels {
                    use #krate::__rt::leveling::*;
                    (&&#krate::__rt::Leveled::<#output>::new()).#none(&__call, __failure, __last, #level)
                };
            }
        });
        let unused = (!is_last).then(|| quote_spanned!(mixed=> #krate::__rt::let_go(__last);));
        quote_spanned!(mixed=> __call.level_failed(#level); #unused #all_failed)
    }

    /// Binds `__out` to the result of the synchronous code of a level.
    fn at_once(&self, answer: &TokenStream) -> TokenStream {
        let (output, mixed) = (self.output, Span::mixed_site());
        quote_spanned! {mixed=>
            let __scope = __asking.enter();
            let __out: #output = #answer;
            __asking.leave(__scope);
        }
    }

    /// Returns how a level is evaluated: a function or closure is called with the failure, other code is evaluated.
    fn evaluated(&self, answer: &Expr, by_value: bool) -> Evaluated {
        let (output, mixed) = (self.output, Span::mixed_site());
        let (name, failure) = if by_value {
            ("recover", quote_spanned!(mixed=> __failure))
        } else {
            ("recover_level", quote_spanned!(mixed=> &__failure))
        };
        // All tokens of the call get spans of the level, because rustc underlines from the first to the last one.
        let place = ends(answer);
        match answer {
            Expr::Closure(_) if is_async(answer) => {
                let recover = runtime_at(self.krate(), &format!("{name}_async"), place);
                let future = quote_spanned!(place.1=> #recover(#failure, #answer));
                Evaluated::Later(TokenStream::new(), future, mixed)
            }
            // With a fully opaque return type, a value cannot be distinguished from a function.
            Expr::Path(_) if !matches!(output, Type::Infer(_)) => self.ask_path(answer, &failure),
            Expr::Closure(_) | Expr::Path(_) => {
                let recover = runtime_at(self.krate(), name, place);
                Evaluated::Now(quote_spanned!(place.1=> #recover::<#output, _>(#failure, #answer)))
            }
            // The failure is not needed, and it must not be held across an `.await` in the expression.
            _ if by_value => {
                let krate = self.krate();
                let end = quote_spanned!(mixed=> #krate::__rt::end(__failure););
                match self.evaluate(answer) {
                    Evaluated::Now(answer) => Evaluated::Now(quote_spanned!(mixed=> { #end #answer })),
                    Evaluated::Later(before, future, place) => {
                        Evaluated::Later(quote!(#end #before), future, place)
                    }
                }
            }
            _ => self.evaluate(answer),
        }
    }

    /// Handles a path, which can be a function, an asynchronous function or a value: rustc selects by type.
    fn ask_path(&self, path: &Expr, failure: &TokenStream) -> Evaluated {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let (first, _) = ends(path);
        let given = Ident::new("__given", first);
        let traits = if self.shape.is_async() { quote!(asking_later) } else { quote!(asking) };
        let before = quote_spanned! {mixed=>
            let #given = #path;
            let __how = {
                use #krate::__rt::#traits::*;
                (&&&#krate::__rt::Ask::<#output, _, _>::of(&#failure, &#given)).how()
            };
        };
        // All tokens get the span of the path, because rustc reports only one such error for a span.
        if self.shape.is_async() {
            let future = quote_spanned!(first=> __how.answer_later::<#output, _>(#failure, #given));
            return Evaluated::Later(before, future, first);
        }
        let answer = quote_spanned!(first=> __how.answer::<#output, _>(#failure, #given));
        Evaluated::Now(quote_spanned!(mixed=> { #before #answer }))
    }

    /// Evaluates an expression in a separate closure or `async` block.
    ///
    /// `?` and `return` then end the level and not the function, which has to try further levels and record the call.
    fn evaluate(&self, answer: &Expr) -> Evaluated {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let body = match answer {
            Expr::Block(block) if block.attrs.is_empty() && block.label.is_none() => {
                tokens(&block.block.stmts)
            }
            answer => answer.to_token_stream(),
        };
        if self.shape.is_async() {
            let edge = self.edge();
            let future = quote_spanned!(mixed=> async { #edge #body });
            return Evaluated::Later(TokenStream::new(), future, mixed);
        }
        Evaluated::Now(quote_spanned!(mixed=> #krate::__rt::evaluate(|| -> #output { #body })))
    }
}

/// Returns whether a type contains `_`.
pub(crate) fn has_hole(ty: &Type) -> bool {
    fn has(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            proc_macro2::TokenTree::Ident(ident) => ident == "_",
            proc_macro2::TokenTree::Group(group) => has(group.stream()),
            proc_macro2::TokenTree::Punct(_) | proc_macro2::TokenTree::Literal(_) => false,
        })
    }
    has(ty.to_token_stream())
}
