//! Reports exits from a function before it creates the future that the attribute protects.

use quote::{ToTokens, quote};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::visit_mut::VisitMut;
use syn::{Block, Expr, ExprAsync, ExprClosure, ExprReturn, Item, Macro, Token};

use super::names;
use crate::diag::Errors;
use crate::item::FnItem;
use crate::shape::{Shape, tokens};

/// Reports code such as `if closed { return Box::pin(..); } Box::pin(async { .. })`.
///
/// rustc accepts both futures, but only the last one is protected.
pub(super) fn check(function: &FnItem, shape: &Shape, errors: &mut Errors) {
    let before = match shape {
        Shape::AsyncBlock(block) => tokens(&block.before),
        Shape::ReturnsFuture(_) => function.body.clone(),
        Shape::Sync | Shape::Async => return,
    };
    // The body is parsed only if it contains `return`.
    if !names(&before, "return") {
        return;
    }
    let Ok(mut before) = syn::parse2::<Block>(quote!({ #before })) else { return };
    Exits(errors).visit_block_mut(&mut before);
}

struct Exits<'e>(&'e mut Errors);

impl Exits<'_> {
    fn report(&mut self, exit: impl ToTokens) {
        self.0.at(
            exit,
            "this returns before the final future of the function, and `#[resilient]` protects only that future; write \
             `async fn`, or move this into the final `async move { .. }`",
        );
    }
}

impl VisitMut for Exits<'_> {
    fn visit_expr_return_mut(&mut self, expr: &mut ExprReturn) {
        self.report(expr);
    }

    fn visit_macro_mut(&mut self, mac: &mut Macro) {
        let expressions = Punctuated::<Expr, Token![,]>::parse_terminated;
        match expressions.parse2(mac.tokens.clone()) {
            Ok(all) => all.into_iter().for_each(|mut expr| self.visit_expr_mut(&mut expr)),
            Err(_) if names(&mac.tokens, "return") => self.report(mac),
            Err(_) => {}
        }
    }

    // A `return` in these does not leave the function.
    fn visit_expr_closure_mut(&mut self, _: &mut ExprClosure) {}
    fn visit_expr_async_mut(&mut self, _: &mut ExprAsync) {}
    fn visit_item_mut(&mut self, _: &mut Item) {}
}
