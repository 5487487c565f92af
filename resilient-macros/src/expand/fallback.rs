//! What happens to a failure, where there is a fallback.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Expr, Type};

use super::Writer;
use crate::args::{Fallback, Level, is_async};
use crate::shape::tokens;
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
                quote_spanned!(mixed=> __call.ask(#future).await)
            }
            // Of a return type that is opaque as a whole nothing is known to tell an answer by.
            Expr::Path(_) if !matches!(output, Type::Infer(_)) => self.ask_path(answer, &failure),
            Expr::Closure(_) | Expr::Path(_) => {
                let recover = runtime_at(self.krate(), name, place);
                quote_spanned!(place.1=> #recover::<#output, _>(#failure, #answer))
            }
            // The failure is not needed, and must not be part of a future that the expression may await in.
            _ if by_value => {
                let (krate, answer) = (self.krate(), self.evaluate(answer));
                quote_spanned!(mixed=> { #krate::__rt::end(__failure); #answer })
            }
            _ => self.evaluate(answer),
        }
    }

    /// A path may be a function, an asynchronous one, or the answer: the compiler knows which.
    fn ask_path(&self, path: &Expr, failure: &TokenStream) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let (first, _) = ends(path);
        let given = Ident::new("__given", first);
        let traits = if self.shape.is_async() { quote!(asking_later) } else { quote!(asking) };
        // All of it at the path: what rustc has said about a place it does not say again.
        let asked = if self.shape.is_async() {
            quote_spanned!(first=> __call.ask(__how.answer_later::<#output, _>(#failure, #given)).await)
        } else {
            quote_spanned!(first=> __how.answer::<#output, _>(#failure, #given))
        };
        quote_spanned! {mixed=> {
            let #given = #path;
            let __how = {
                use #krate::__rt::#traits::*;
                (&&&#krate::__rt::Ask::<#output, _, _>::of(&#failure, &#given)).how()
            };
            #asked
        }}
    }

    /// In a closure or `async` block of its own: `?` and `return` in it end the level, and not the function, which
    /// has more levels to ask and its record to close.
    fn evaluate(&self, answer: &Expr) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let body = match answer {
            Expr::Block(block) if block.attrs.is_empty() && block.label.is_none() => {
                tokens(&block.block.stmts)
            }
            answer => answer.to_token_stream(),
        };
        if self.shape.is_async() {
            let edge = self.edge();
            quote_spanned!(mixed=> __call.ask(async { #edge #body }).await)
        } else {
            quote_spanned!(mixed=> #krate::__rt::evaluate(|| -> #output { #body }))
        }
    }
}
