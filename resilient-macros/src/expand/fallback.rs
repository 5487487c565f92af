//! What happens to a failure, where there is a fallback.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::Expr;

use super::Writer;
use crate::args::{Fallback, Level};
use crate::spans::{ends, runtime_at};

impl Writer<'_> {
    /// The answer to `__failure`.
    pub(super) fn fall_back(&self, fallback: &Fallback) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        if let (true, [level]) = (fallback.is_single, &fallback.levels[..]) {
            let asked = self.ask(level, true);
            let variant = self.level(level.variant);
            return quote_spanned! {mixed=>
                #asked
                if __answered {
                    __call.level_served(#variant);
                } else {
                    __call.level_failed(#variant);
                }
                __out
            };
        }
        let last = fallback.levels.len().saturating_sub(1);
        let levels = fallback.levels.iter().enumerate().map(|(index, level)| {
            let asked = self.ask(level, false);
            let variant = self.level(level.variant);
            let all_failed = (index == last).then(|| {
                quote_spanned!(mixed=> break '__levels #krate::__rt::all_failed!(__failure, __out, #variant);)
            });
            quote_spanned! {mixed=>
                {
                    #asked
                    if __answered {
                        __call.level_served(#variant);
                        break '__levels __out;
                    }
                    __call.level_failed(#variant);
                    #all_failed
                }
            }
        });
        quote_spanned!(mixed=> #[allow(unreachable_code)] '__levels: { #(#levels)* })
    }

    /// Evaluates one level: leaves `__out` and whether it is an answer.
    fn ask(&self, level: &Level, by_value: bool) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let variant = self.level(level.variant);
        let answer = self.answer(&level.answer, by_value);
        quote_spanned! {mixed=>
            __call.enter_level(#variant);
            let __out: #output = #answer;
            let __answered = #krate::__rt::judge!(&__out) == #krate::__rt::Verdict::Success;
        }
    }

    /// A function or closure is called with the failure; anything else is evaluated.
    fn answer(&self, answer: &Expr, by_value: bool) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let (name, failure) = if by_value {
            ("recover", quote_spanned!(mixed=> __failure))
        } else {
            ("recover_level", quote_spanned!(mixed=> &__failure))
        };
        // All of the call at the answer: rustc blames what is between its first token and its last.
        let place = ends(answer);
        match answer {
            Expr::Closure(closure) if closure.asyncness.is_some() => {
                let recover = runtime_at(krate, &format!("{name}_async"), place);
                let future = quote_spanned!(place.1=> #recover(#failure, #answer));
                quote_spanned!(mixed=> #future.await)
            }
            Expr::Closure(_) | Expr::Path(_) => {
                let recover = runtime_at(krate, name, place);
                quote_spanned!(place.1=> #recover::<#output, _>(#failure, #answer))
            }
            // The failure is not needed, and must not be part of a future that the expression may await in.
            _ if by_value => quote_spanned!(mixed=> { ::core::mem::drop(__failure); #answer }),
            _ => quote_spanned!(mixed=> #answer),
        }
    }
}
