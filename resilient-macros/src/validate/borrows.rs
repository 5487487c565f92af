//! What a body takes, keeps and gives out, where it may run more than once.

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
                errors.at(ident, "`self` cannot be copied for each attempt; take `&self`");
            } else if function.sig.receiver().is_none() {
                errors.at(ident, "this function has no `self`");
            }
        } else if !names.contains(ident) {
            errors.at(ident, format!("no parameter is named `{ident}`"));
        }
    }
}

/// A `mut` argument is copied for each attempt; `self` cannot be bound anew.
pub(super) fn mutable_self(args: &Args, function: &FnItem, shape: &Shape, errors: &mut Errors) {
    let (true, Some(receiver)) = (args.repeats(), function.sig.receiver()) else {
        return;
    };
    let by_value = match &receiver.kind {
        ReceiverKind::Value => true,
        // `mut self: Pin<&mut Self>` is a `&mut self` that wants `self.as_mut()`.
        ReceiverKind::Typed(_, ty) => {
            !matches!(plain(ty), Type::Reference(_)) && last_segment(ty).as_deref() != Some("Pin")
        }
        _ => false,
    };
    if by_value && (receiver.mutability.is_some() || shape.once().iter().any(binds_mutable_self)) {
        errors.at(
            receiver,
            "what one attempt changes in `mut self` would leak into the next; take `self`, and write \
             `let mut this = self.clone();` in the body",
        );
    }
}

/// `let mut __self = self;`, which is how `#[async_trait]` writes `mut self`.
fn binds_mutable_self(stmt: &Stmt) -> bool {
    let Stmt::Local(Local { pat: Pat::Ident(pat), .. }) = stmt else {
        return false;
    };
    pat.ident == "__self" && pat.mutability.is_some()
}

/// The last word of a type that is a path.
pub(super) fn last_segment(ty: &Type) -> Option<String> {
    match plain(ty) {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
        _ => None,
    }
}

/// `fn f(&mut self) -> Result<&T, E>`: the one borrow that a loop cannot have, until Polonius.
pub(super) fn borrow_given_out(args: &Args, function: &FnItem, errors: &mut Errors) {
    let (Some(_), ReturnType::Type(_, ret)) = (&args.retry, &function.sig.output) else {
        return;
    };
    let given_out = |arg: &&FnArg| {
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
    let Some(arg) = function.sig.inputs.iter().find(given_out) else {
        return;
    };
    let what = if matches!(arg, FnArg::Receiver(_)) { "`&mut self`" } else { "a `&mut` parameter" };
    errors.at(
        ret,
        format!(
            "`retry` cannot be used on a function that gives out a borrow of {what}: the borrow would have to end before \
             the next attempt; return an owned value"
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

        // `fn(&T)` and `dyn Fn(&T)` take a borrow, and give none out.
        fn visit_type_fn_ptr_mut(&mut self, _: &mut TypeFnPtr) {}
        fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut ParenthesizedGenericArguments) {}
    }
    let mut find = Find(false);
    find.visit_type_mut(&mut ty.clone());
    find.0
}
