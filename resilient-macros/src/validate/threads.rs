//! Checks a body that runs on a thread of its bulkhead.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::quote;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Block, BoundLifetimes, ExprAsync, ExprAwait, ExprClosure, FnArg, Item, Lifetime, Macro,
    ParenthesizedGenericArguments, ReceiverKind, Type, TypeFnPtr, TypeReference,
};

use super::settings::{count, find};
use crate::args::Args;
use crate::diag::Errors;
use crate::item::FnItem;
use crate::shape::{Shape, plain, tokens};

pub(super) fn check(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    let (Some(threads), Some(bulkhead)) = (args.threads(), &args.bulkhead) else { return };
    for field in ["max_concurrent", "max_wait", "adaptive"] {
        if let Some((_, span)) = find(bulkhead, field) {
            let remedy = match field {
                "max_wait" => "calls wait for a thread until `timeout` expires",
                _ => "the limit is the number of threads",
            };
            errors.span(span, format!("`{field}` has no effect with `threads`: {remedy}"));
        }
    }
    reserves(args, errors);
    if let Some(hedge) = &args.hedge {
        errors.at(
            &hedge.key,
            "`hedge` cannot be used with `threads`: the losing attempt could not be cancelled",
        );
    }
    let body = match shape {
        Shape::ReturnsFuture(_) => {
            errors.span(
                threads.span,
                "`threads` runs blocking code; write a `fn`, or an `async fn` without `.await` in its body",
            );
            return;
        }
        Shape::AsyncBlock(block) => tokens(&block.stmts),
        Shape::Sync | Shape::Async => function.body.clone(),
    };
    if let (true, Some(place)) = (shape.is_async(), awaited(&body)) {
        let what = "`.await` cannot be used with `threads`, because the body is blocking code on another thread; remove \
                    `threads`, or await the value in the caller and pass it as an argument";
        errors.span(place, what);
    }
    borrows(function, errors);
    self_of_each_attempt(args, function, &body, errors);
}

/// Requires `clone(self)` for repeated attempts, because the first attempt moves `self` to its thread.
fn self_of_each_attempt(args: &Args, function: &FnItem, body: &TokenStream, errors: &mut Errors) {
    let Some(receiver) = function.sig.receiver().filter(|_| args.repeats()) else { return };
    // A plain `self` may be `Copy`, and borrows are reported elsewhere.
    let ReceiverKind::Typed(_, ty) = &receiver.kind else { return };
    let is_copied = args.clone.as_ref().is_some_and(|clone| clone.value.iter().any(|ident| ident == "self"));
    if !is_copied && !has_borrow(ty) && names_self(body.clone()) {
        errors.at(
            receiver,
            "the first attempt moves `self` to its thread; add `clone(self)`, so that each attempt has a clone",
        );
    }
}

/// Returns whether the body mentions `self`, or `__self` as `#[async_trait]` names it.
fn names_self(body: TokenStream) -> bool {
    body.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "self" || ident == "__self",
        TokenTree::Group(group) => names_self(group.stream()),
        _ => false,
    })
}

fn reserves(args: &Args, errors: &mut Errors) {
    let Some(bulkhead) = &args.bulkhead else { return };
    let number = |field| count(bulkhead, field).map_or(0, |(count, _)| count);
    let admitted = number("threads") + number("max_queue");
    let reserved = number("reserve_critical") + number("reserve_high");
    let last = ["reserve_critical", "reserve_high"]
        .into_iter()
        .filter_map(|field| count(bulkhead, field))
        .next_back();
    if let (Some((_, span)), true) = (last, reserved >= admitted) {
        errors.span(
            span,
            format!("the reserves add up to {reserved}, which leaves none of the {admitted} admitted calls for normal calls"),
        );
    }
}

/// Reports borrowed arguments: the body on the thread can outlive the call.
fn borrows(function: &FnItem, errors: &mut Errors) {
    for argument in &function.sig.inputs {
        match argument {
            FnArg::Receiver(receiver) => {
                let is_borrowed = match &receiver.kind {
                    ReceiverKind::Value => false,
                    ReceiverKind::Typed(_, ty) => has_borrow(ty),
                    _ => true,
                };
                if is_borrowed {
                    errors.at(
                        receiver,
                        "with `threads` the body cannot borrow `self`, because it can outlive the call; take `self: Arc<Self>`",
                    );
                }
            }
            FnArg::Typed(typed) if has_borrow(&typed.ty) => errors.at(
                &typed.ty,
                "with `threads` the body cannot borrow an argument, because it can outlive the call; take an owned value, such \
                 as a `String` or an `Arc`",
            ),
            FnArg::Typed(_) => {}
        }
    }
}

fn has_borrow(ty: &Type) -> bool {
    struct Find(bool);
    impl VisitMut for Find {
        fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
            self.0 |= reference.lifetime.is_none();
            visit_mut::visit_type_reference_mut(self, reference);
        }

        // Also `Cow<'_, str>` and `impl Display + 'a`.
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            self.0 |= lifetime.ident != "static";
        }

        // Lifetimes in the parameters of a function type do not matter.
        fn visit_type_fn_ptr_mut(&mut self, _: &mut TypeFnPtr) {}
        fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut ParenthesizedGenericArguments) {}
        fn visit_bound_lifetimes_mut(&mut self, _: &mut BoundLifetimes) {}
    }
    let mut find = Find(false);
    find.visit_type_mut(&mut plain(ty).clone());
    find.0
}

/// Returns the first `.await` of the body itself, excluding nested futures and functions.
fn awaited(body: &TokenStream) -> Option<Span> {
    struct Find(Option<Span>);
    impl VisitMut for Find {
        fn visit_expr_await_mut(&mut self, expr: &mut ExprAwait) {
            visit_mut::visit_expr_await_mut(self, expr);
            self.0.get_or_insert(expr.await_token.span);
        }

        fn visit_expr_async_mut(&mut self, _: &mut ExprAsync) {}

        fn visit_expr_closure_mut(&mut self, closure: &mut ExprClosure) {
            if closure.asyncness.is_none() {
                visit_mut::visit_expr_closure_mut(self, closure);
            }
        }

        fn visit_item_mut(&mut self, _: &mut Item) {}

        fn visit_macro_mut(&mut self, makes: &mut Macro) {
            self.0 = self.0.or_else(|| awaited_in_macro(makes.tokens.clone()));
        }
    }
    let mut find = Find(None);
    // rustc reports a body that does not parse.
    if let Ok(mut block) = syn::parse2::<Block>(quote!({ #body })) {
        find.visit_block_mut(&mut block);
    }
    find.0
}

/// Returns the first `.await` in the tokens of a macro.
///
/// The expansion is unknown: if the tokens contain `async`, the `.await` may be inside of it and is ignored.
fn awaited_in_macro(tokens: TokenStream) -> Option<Span> {
    let (mut found, mut after_dot) = (None, false);
    for token in tokens {
        match &token {
            TokenTree::Ident(ident) if ident == "async" => return None,
            TokenTree::Ident(ident) if ident == "await" && after_dot => {
                found.get_or_insert(ident.span());
            }
            TokenTree::Group(group) => found = found.or_else(|| awaited_in_macro(group.stream())),
            _ => {}
        }
        after_dot = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '.');
    }
    found
}
