//! What happens to a failure, where there is a fallback.
//!
//! ```text
//! let key = kept::key(..);                        // only with the built-in local cache
//! match { ATTEMPTS } {
//!     Ok(out) => { keep!(key, &out); out }
//!     Err(failure) => 'levels: {
//!         match {                                 // for each level but a default
//!             match call.enter_level(LEVEL) { Ok(asking) => Ok(ANSWER), Err(none) => Err(none) }
//!         } {
//!             Ok(out) if answered => { call.level_served(..); break 'levels mark!(out, ..) }
//!             last => call.level_failed(LEVEL),   // behind the last one: none_answered!(..)
//!         }
//!     }
//! }
//! ```

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Expr, Type};

use super::Writer;
use crate::args::{Answer, Fallback, Level, LocalCache, is_async};
use crate::shape::tokens;
use crate::spans::{ends, located, runtime_at};

/// How one level is evaluated.
enum Evaluated {
    /// At once, to the function's type.
    Now(TokenStream),
    /// Behind these statements by this future; where rustc is to say what is wrong with it.
    Later(TokenStream, TokenStream, Span),
}

impl Writer<'_> {
    /// `attempts`, which is an outcome or a failure, with the answer to that.
    pub(super) fn with_fallback(&self, fallback: &Fallback, attempts: &TokenStream) -> TokenStream {
        let (answer, mixed) = (self.fall_back(fallback), Span::mixed_site());
        let Some(LocalCache { word, key, .. }) = fallback.kept() else {
            return quote_spanned! {mixed=>
                match { #attempts } {
                    ::core::result::Result::Ok(__out) => __out,
                    ::core::result::Result::Err(__failure) => { #answer }
                }
            };
        };
        let (krate, output, place) = (self.krate(), self.output, located(word.span()));
        // A type that cannot be kept is blamed itself.
        let make_key = quote_spanned!(self.output_ends().0=> key);
        let key = match key {
            Some(key) => {
                let key = &key.value;
                quote_spanned!(ends(key).0=> &(#key))
            }
            None => quote_spanned!(mixed=> &()),
        };
        let leveled = quote_spanned!(place=> (&&&#krate::__rt::Leveled::<#output>::new()));
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
            let __key = {
                use #krate::__rt::leveling::*;
                #leveled.#make_key(&__call, &__RESILIENT_SITE, #key)
            };
            match #watched {
                (::core::result::Result::Ok(__out), __seen) => {
                    // What was made of stand-ins is not the last good answer (T114).
                    if __seen.is_none() && !#krate::__rt::is_marked!(&__out) {
                        #krate::__rt::keep!(&__call, __key, &__out);
                    }
                    __out
                }
                (::core::result::Result::Err(__failure), _) => { #answer }
            }
        }}
    }

    /// The answer to `__failure`.
    fn fall_back(&self, fallback: &Fallback) -> TokenStream {
        let mixed = Span::mixed_site();
        let last = fallback.levels.len().saturating_sub(1);
        let levels = fallback.levels.iter().enumerate().map(|(index, level)| match &level.answer {
            Answer::Code(answer) if level.variant == "Default" => {
                self.default_level(answer, fallback.is_single)
            }
            Answer::Code(answer) => self.level_of_code(level, answer, index == last),
            Answer::LocalCache(_) => self.level_of_cache(level, index == last),
        });
        let why = self.why();
        quote_spanned!(mixed=> #why #[allow(unreachable_code)] '__levels: { #(#levels)* })
    }

    /// Binds `__why`: the failure in words, if anybody wants them.
    fn why(&self) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        // Of a type that is opaque nothing is known.
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

    /// Nothing bounds a default, and nothing comes behind it.
    fn default_level(&self, answer: &Expr, by_value: bool) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let level = self.level("Default");
        let out = match self.evaluated(answer, by_value) {
            Evaluated::Now(answer) => self.at_once(&answer),
            // Only what is bounded has no answer.
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

    fn level_of_cache(&self, level: &Level, is_last: bool) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let served = self.served(level.variant, &quote_spanned!(mixed=> __age));
        let failed = self.failed_level(level.variant, is_last);
        quote_spanned! {mixed=>
            match #krate::__rt::last_good!(&mut __call, __key, #output) {
                ::core::result::Result::Ok((__out, __age)) => { #served }
                ::core::result::Result::Err(__none) => {
                    let __last: ::core::result::Result<#output, #krate::__rt::NoAnswer> =
                        ::core::result::Result::Err(__none);
                    #failed
                }
            }
        }
    }

    /// `__out` is the answer.
    fn served(&self, variant: &str, age: &TokenStream) -> TokenStream {
        let (krate, level, mixed) = (self.krate(), self.level(variant), Span::mixed_site());
        // Of a type that is not written out it is not known whether it can be marked.
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

    /// `__last` is none.
    fn failed_level(&self, variant: &str, is_last: bool) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let level = self.level(variant);
        let all_failed = is_last.then(|| {
            // Where the type cannot say that, it is the type that is blamed.
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

    /// Binds `__out` to what synchronous code of the level gives.
    fn at_once(&self, answer: &TokenStream) -> TokenStream {
        let (output, mixed) = (self.output, Span::mixed_site());
        quote_spanned! {mixed=>
            let __scope = __asking.enter();
            let __out: #output = #answer;
            __asking.leave(__scope);
        }
    }

    /// A function or closure is called with the failure; anything else is evaluated.
    fn evaluated(&self, answer: &Expr, by_value: bool) -> Evaluated {
        let (output, mixed) = (self.output, Span::mixed_site());
        let (name, failure) = if by_value {
            ("recover", quote_spanned!(mixed=> __failure))
        } else {
            ("recover_level", quote_spanned!(mixed=> &__failure))
        };
        // All of the call at the answer: rustc blames what is between its first token and its last.
        let place = ends(answer);
        match answer {
            Expr::Closure(_) if is_async(answer) => {
                let recover = runtime_at(self.krate(), &format!("{name}_async"), place);
                let future = quote_spanned!(place.1=> #recover(#failure, #answer));
                Evaluated::Later(TokenStream::new(), future, mixed)
            }
            // Of a return type that is opaque as a whole nothing is known to tell an answer by.
            Expr::Path(_) if !matches!(output, Type::Infer(_)) => self.ask_path(answer, &failure),
            Expr::Closure(_) | Expr::Path(_) => {
                let recover = runtime_at(self.krate(), name, place);
                Evaluated::Now(quote_spanned!(place.1=> #recover::<#output, _>(#failure, #answer)))
            }
            // The failure is not needed, and must not be part of a future that the expression may await in.
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

    /// A path may be a function, an asynchronous one, or the answer: the compiler knows which.
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
        // All of it at the path: what rustc has said about a place it does not say again.
        if self.shape.is_async() {
            let future = quote_spanned!(first=> __how.answer_later::<#output, _>(#failure, #given));
            return Evaluated::Later(before, future, first);
        }
        let answer = quote_spanned!(first=> __how.answer::<#output, _>(#failure, #given));
        Evaluated::Now(quote_spanned!(mixed=> { #before #answer }))
    }

    /// In a closure or `async` block of its own: `?` and `return` in it end the level, and not the function, which
    /// has more levels to ask and its record to close.
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

/// Whether some of a type is not written out.
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
