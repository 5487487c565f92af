//! A body that runs on a thread of its bulkhead: what it cannot have.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::visit_mut::{self, VisitMut};
use syn::{FnArg, ReceiverKind, Type, TypeReference};

use super::{count, find};
use crate::args::Args;
use crate::diag::Errors;
use crate::item::FnItem;
use crate::shape::{Shape, plain};

pub(super) fn check(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    let (Some(threads), Some(bulkhead)) = (args.threads(), &args.bulkhead) else { return };
    for field in ["max_concurrent", "max_wait", "adaptive"] {
        if let Some((_, span)) = find(bulkhead, field) {
            let remedy = match field {
                "adaptive" => "the number of calls at once is that of the threads",
                "max_wait" => "calls wait for a thread as long as `timeout` lets them",
                _ => "there are as many calls at once as `threads`",
            };
            errors.span(span, format!("with `threads`, `{field}` has no meaning: {remedy}"));
        }
    }
    reserves(args, errors);
    if let Some(hedge) = &args.hedge {
        errors.at(
            &hedge.key,
            "a body on `threads` cannot be hedged: the attempt that loses could not be stopped",
        );
    }
    if matches!(shape, Shape::ReturnsFuture(_) | Shape::AsyncBlock(_)) {
        errors.span(
            threads.span,
            "`threads` runs blocking code: write a `fn`, or an `async fn` without `.await` in it",
        );
        return;
    }
    if let (true, Some(place)) = (shape.is_async(), awaited(function.body.clone())) {
        let what = "with `threads` the body is blocking code on a thread of its own, where nothing can be awaited; leave \
                    `threads` away, or await it before and hand it over as an argument";
        errors.span(place, what);
    }
    borrows(function, errors);
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
            format!("the reserve of {reserved} leaves nothing of the {admitted} calls that are admitted"),
        );
    }
}

/// The thread outlives the caller, who may have left.
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
                        "a thread cannot borrow `self`, because its caller may leave before it ends; take `self: Arc<Self>`",
                    );
                }
            }
            FnArg::Typed(typed) if has_borrow(&typed.ty) => errors.at(
                &typed.ty,
                "a thread cannot borrow an argument, because its caller may leave before it ends; take it by value, such as \
                 a `String` or an `Arc`",
            ),
            FnArg::Typed(_) => {}
        }
    }
}

fn has_borrow(ty: &Type) -> bool {
    struct Find(bool);
    impl VisitMut for Find {
        fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
            let is_static = reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static");
            self.0 |= !is_static;
            visit_mut::visit_type_reference_mut(self, reference);
        }
        // The arguments of a function pointer are its own affair.
        fn visit_type_fn_ptr_mut(&mut self, _: &mut syn::TypeFnPtr) {}
    }
    let mut find = Find(false);
    find.visit_type_mut(&mut plain(ty).clone());
    find.0
}

/// The first `.await` that is not in an `async` block of its own.
fn awaited(body: TokenStream) -> Option<Span> {
    let mut is_in_async = false;
    for token in body {
        match token {
            TokenTree::Ident(ident) if ident == "await" => return Some(ident.span()),
            TokenTree::Ident(ident) if ident == "async" => is_in_async = true,
            TokenTree::Ident(ident) if ident == "move" => {}
            TokenTree::Group(group) => {
                if !is_in_async && let Some(place) = awaited(group.stream()) {
                    return Some(place);
                }
                is_in_async = false;
            }
            _ => is_in_async = false,
        }
    }
    None
}
