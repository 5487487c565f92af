//! Checks ownership in a body that may run more than once: clones, `mut self` and returned borrows.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit_mut::{self, VisitMut};
use syn::{
    FnArg, Ident, Lifetime, Local, ParenthesizedGenericArguments, Pat, ReceiverKind, ReturnType, Stmt, Type,
    TypeFnPtr, TypeReference,
};

use crate::args::Args;
use crate::diag::Errors;
use crate::expand::bindings;
use crate::item::FnItem;
use crate::shape::{Shape, plain};

pub(super) fn clones(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    let Some(clone) = &args.clone else { return };
    let repeats = args.keys.iter().any(|key| key == "retry" || key == "hedge");
    if !args.has_unknown && !repeats && args.threads().is_none() {
        errors.at(&clone.key, "`clone` has no effect without `retry` or `hedge`: the body runs once");
    }
    let names: Vec<Ident> = bindings(&function.sig, shape).into_iter().map(|binding| binding.ident).collect();
    for ident in &clone.value {
        if ident == "self" {
            if args.threads().is_none() {
                errors.at(ident, "`self` cannot be cloned for each attempt; take `&self`");
            } else if function.sig.receiver().is_none() {
                errors.at(ident, "this function has no `self`; remove it from `clone(..)`");
            }
        } else if !names.contains(ident) {
            errors.at(ident, format!("this function has no parameter named `{ident}`"));
        }
    }
}

/// Reports `mut self`: a `mut` argument is cloned for each attempt, but `self` cannot be rebound.
pub(super) fn mutable_self(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    let (true, Some(receiver)) = (args.repeats(), function.sig.receiver()) else {
        return;
    };
    let by_value = match &receiver.kind {
        ReceiverKind::Value => true,
        // `mut self: Pin<&mut Self>` is a `&mut self`, on which the body calls `self.as_mut()`.
        ReceiverKind::Typed(_, ty) => {
            !matches!(plain(ty), Type::Reference(_)) && last_segment(ty).as_deref() != Some("Pin")
        }
        _ => false,
    };
    if by_value && (receiver.mutability.is_some() || shape.once().iter().any(binds_mutable_self)) {
        errors.at(
            receiver,
            "changes to `mut self` in one attempt would be visible in the next; take `self`, and write \
             `let mut this = self.clone();` in the body",
        );
    }
}

/// Returns whether a statement is `let mut __self = self;`, which `#[async_trait]` generates for `mut self`.
fn binds_mutable_self(stmt: &Stmt) -> bool {
    let Stmt::Local(Local { pat: Pat::Ident(pat), .. }) = stmt else {
        return false;
    };
    pat.ident == "__self" && pat.mutability.is_some()
}

/// Returns the last segment of a type that is a path.
pub(super) fn last_segment(ty: &Type) -> Option<String> {
    match plain(ty) {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
        _ => None,
    }
}

/// Reports `fn f(&mut self) -> Result<&T, E>`: the borrow checker rejects this borrow in a loop until Polonius.
pub(super) fn returned_borrow(args: &Args, function: &FnItem, errors: &mut Errors) {
    let (Some(_), ReturnType::Type(_, ret)) = (&args.retry, &function.sig.output) else {
        return;
    };
    let is_returned = |arg: &&FnArg| {
        let lifetime = match arg {
            FnArg::Receiver(receiver) => match &receiver.kind {
                ReceiverKind::Reference(_, lifetime, Some(_)) => lifetime.as_ref(),
                _ => return false,
            },
            FnArg::Typed(arg) => match plain(&arg.ty) {
                Type::Reference(reference) if reference.mutability.is_some() => reference.lifetime.as_ref(),
                _ => return false,
            },
        };
        match lifetime {
            Some(lifetime) if lifetime.ident != "_" => names_lifetime(ret.to_token_stream(), &lifetime.ident),
            _ => {
                let elided = matches!(arg, FnArg::Receiver(_)) || function.sig.inputs.len() == 1;
                elided && has_elided_reference(ret)
            }
        }
    };
    let Some(arg) = function.sig.inputs.iter().find(is_returned) else {
        return;
    };
    let what = if matches!(arg, FnArg::Receiver(_)) { "`&mut self`" } else { "a `&mut` parameter" };
    errors.at(
        ret,
        format!(
            "`retry` cannot be used on a function that returns a borrow of {what}: the borrow would have to end before the \
             next attempt; return an owned value"
        ),
    );
}

pub(super) fn names_lifetime(tokens: TokenStream, lifetime: &Ident) -> bool {
    let mut tick = false;
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => names_lifetime(group.stream(), lifetime),
        TokenTree::Punct(punct) => {
            tick = punct.as_char() == '\'';
            false
        }
        TokenTree::Ident(ident) => std::mem::take(&mut tick) && ident == *lifetime,
        TokenTree::Literal(_) => false,
    })
}

pub(super) fn has_elided_reference(ty: &Type) -> bool {
    struct Find(bool);
    impl VisitMut for Find {
        fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
            self.0 |= reference.lifetime.is_none();
            visit_mut::visit_type_reference_mut(self, reference);
        }

        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            self.0 |= lifetime.ident == "_";
        }

        // `fn(&T)` and `dyn Fn(&T)` take a borrow and do not return one.
        fn visit_type_fn_ptr_mut(&mut self, _: &mut TypeFnPtr) {}
        fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut ParenthesizedGenericArguments) {}
    }
    let mut find = Find(false);
    find.visit_type_mut(&mut ty.clone());
    find.0
}
