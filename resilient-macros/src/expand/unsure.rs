//! Arguments that the body may move in a way that the macro cannot detect, as in `request.send()`.
//!
//! rustc reports these as moved in a loop, or out of a closure of this crate. To include the remedy in the message, the
//! loop of a retry starts by passing them to a macro whose name is the remedy, and the body of a hedge is called
//! through a trait.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{quote, quote_spanned};

use super::Writer;
use crate::shape::{Shape, tokens};
use crate::spans::{ends, located, runtime_at};

impl Writer<'_> {
    /// Returns the arguments that the body mentions and may move undetected, except `self`.
    fn unsure(&self) -> Vec<Ident> {
        let body = match self.shape {
            Shape::AsyncBlock(block) => tokens(&block.stmts),
            Shape::Sync | Shape::Async | Shape::ReturnsFuture(_) => self.function.body.clone(),
        };
        let idents = self.candidates().into_iter().map(|it| it.ident);
        idents.filter(|it| *it != "self" && mentions(&body, it)).collect()
    }

    /// Returns the statement at the start of the retry loop. rustc reports an error there first and prints the macro
    /// name.
    pub(super) fn needed_again(&self) -> TokenStream {
        let Some(retry) = &self.args.retry else { return TokenStream::new() };
        let arguments = self.unsure();
        if arguments.is_empty() {
            return TokenStream::new();
        }
        let name = "add_the_moved_argument_to_clone_in_the_attribute";
        let needed = runtime_at(self.krate(), name, ends(&retry.policy.key));
        quote!(#needed!(#(#arguments),*);)
    }

    /// Wraps the closure that creates the attempts of a hedge, so that rustc's error for a closure that can run only
    /// once includes the remedy.
    pub(super) fn repeatable(&self, attempts: &TokenStream) -> TokenStream {
        let (Some(hedge), arguments) = (&self.args.hedge, self.unsure()) else { return attempts.clone() };
        if arguments.is_empty() {
            return attempts.clone();
        }
        let place = located(hedge.key.span());
        let named: Vec<String> = arguments.iter().map(|it| format!("`clone({it})`")).collect();
        let message = format!(
            "the body moves an argument, but `hedge` runs the body more than once: add {} to the attribute",
            named.join(" or ")
        );
        let note =
            "`clone(..)` gives each attempt its own clone; alternatively, borrow the argument in the body";
        // All tokens have one span, or rustc reports the error twice.
        quote_spanned! {place=> {
            #[diagnostic::on_unimplemented(message = #message, label = "the next attempt needs it, too", note = #note)]
            trait __Repeatable<F> {
                fn attempt(&mut self) -> F;
            }
            #[diagnostic::do_not_recommend]
            impl<A: ::core::ops::FnMut() -> F, F> __Repeatable<F> for A {
                fn attempt(&mut self) -> F {
                    self()
                }
            }
            fn __attempt<F>(attempts: &mut impl __Repeatable<F>) -> F {
                attempts.attempt()
            }
            let mut __attempts = #attempts;
            move || __attempt(&mut __attempts)
        }}
    }
}

fn mentions(tokens: &TokenStream, name: &Ident) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Group(group) => mentions(&group.stream(), name),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
