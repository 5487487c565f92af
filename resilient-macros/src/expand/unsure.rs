//! Arguments that the body may move where the macro cannot see it, as in `request.send()`.
//!
//! rustc reports these as moved in a loop, or out of a closure of this crate. So that its message says what to do, the loop
//! of a retry begins with a use of them by a macro whose name says it, and the body of a hedge goes through a trait.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{quote, quote_spanned};

use super::Writer;
use crate::shape::{Shape, tokens};
use crate::spans::{ends, located, runtime_at};

impl Writer<'_> {
    /// What the body mentions and may move unseen. (`self` cannot be named in `clone(..)`.)
    fn unsure(&self) -> Vec<Ident> {
        let body = match self.shape {
            Shape::AsyncBlock(block) => tokens(&block.stmts),
            Shape::Sync | Shape::Async | Shape::ReturnsFuture(_) => self.function.body.clone(),
        };
        let idents = self.candidates().into_iter().map(|it| it.ident);
        idents.filter(|it| *it != "self" && mentions(&body, it)).collect()
    }

    /// The loop of a retry begins with this: rustc then finds fault with it first, and says its name.
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

    /// Wraps the closure that makes the attempts of a hedge, so that rustc's error for a closure that can run only once names
    /// the remedy.
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
        let note = "`clone(..)` gives each attempt a copy of its own; or let the body borrow the argument";
        // All of it at one place, or rustc says it twice.
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
