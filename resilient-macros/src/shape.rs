//! What kind of function is this?

use proc_macro2::TokenStream;
use quote::quote;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Block, Expr, GenericArgument, Local, Pat, PathArguments, ReturnType, Stmt, Token, Type, TypeParamBound,
    parse_quote,
};

use crate::diag::Errors;
use crate::item::FnItem;

pub(crate) enum Shape {
    /// `fn f() -> R`
    Sync,
    /// `async fn f() -> R`
    Async,
    /// `fn f() -> impl Future<Output = R>`
    ReturnsFuture(Box<Type>),
    /// `fn f() -> Pin<Box<dyn Future<Output = R>>>` that ends in `Box::pin(async move { .. })`, which is
    /// what `#[async_trait]` makes.
    Boxed(Box<Boxed>),
}

pub(crate) struct Boxed {
    output: Type,
    /// What stands before the last expression, `Box::pin(..)`.
    pub(crate) before: Vec<Stmt>,
    /// `Box::pin`, as it was written.
    pub(crate) pin: Expr,
    pub(crate) capture: Option<Token![move]>,
    /// `let x = x;` that `#[async_trait]` put in front of the body: once, not for each attempt.
    pub(crate) once: Vec<Stmt>,
    /// The body.
    pub(crate) stmts: Vec<Stmt>,
}

impl Shape {
    pub(crate) fn of(function: &FnItem, errors: &mut Errors) -> Self {
        if function.sig.asyncness.is_some() {
            return Self::Async;
        }
        let ReturnType::Type(_, ty) = &function.sig.output else {
            return Self::Sync;
        };
        if let Type::ImplTrait(bounds) = &**ty {
            return future_output(bounds.bounds.iter())
                .map_or(Self::Sync, |output| Self::ReturnsFuture(Box::new(output)));
        }
        let Some(output) = boxed_output(ty) else {
            return Self::Sync;
        };
        if let Some(boxed) = boxed(function, output) {
            return Self::Boxed(Box::new(boxed));
        }
        errors.at(
            ty,
            "`#[resilient]` cannot see the future inside this box; write `async fn`, return `impl Future`, or end \
             the function with `Box::pin(async move { .. })`",
        );
        Self::Sync
    }

    /// The type that an attempt produces, with `_` for `impl Trait`.
    pub(crate) fn attempt_type(&self, function: &FnItem) -> Type {
        let mut ty = match (self, &function.sig.output) {
            (Self::ReturnsFuture(output), _) => (**output).clone(),
            (Self::Boxed(boxed), _) => boxed.output.clone(),
            (_, ReturnType::Default) => parse_quote!(()),
            (_, ReturnType::Type(_, ty)) => (**ty).clone(),
        };
        EraseImplTrait.visit_type_mut(&mut ty);
        ty
    }

    pub(crate) fn is_async(&self) -> bool {
        !matches!(self, Self::Sync)
    }
}

struct EraseImplTrait;

impl VisitMut for EraseImplTrait {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        if let Type::ImplTrait(_) = ty {
            *ty = parse_quote!(_);
        } else {
            visit_mut::visit_type_mut(self, ty);
        }
    }
}

/// `R` of `Future<Output = R>` among bounds.
fn future_output<'a>(bounds: impl Iterator<Item = &'a TypeParamBound>) -> Option<Type> {
    for bound in bounds {
        let TypeParamBound::Trait(bound) = bound else {
            continue;
        };
        let Some(last) = bound.path.segments.last() else {
            continue;
        };
        let PathArguments::AngleBracketed(args) = &last.arguments else {
            continue;
        };
        if last.ident != "Future" {
            continue;
        }
        for arg in &args.args {
            if let GenericArgument::AssocType(assoc) = arg
                && assoc.ident == "Output"
            {
                return Some(assoc.ty.clone());
            }
        }
    }
    None
}

/// `R` of `Pin<Box<dyn Future<Output = R>>>`, `BoxFuture<'_, R>` or `LocalBoxFuture<'_, R>`.
fn boxed_output(ty: &Type) -> Option<Type> {
    if let Some(inner) = last_type(ty, &["BoxFuture", "LocalBoxFuture"]) {
        return Some(inner.clone());
    }
    match last_type(last_type(ty, &["Pin"])?, &["Box"])? {
        Type::TraitObject(object) => future_output(object.bounds.iter()),
        Type::ImplTrait(object) => future_output(object.bounds.iter()),
        _ => None,
    }
}

/// The last generic argument of a path that ends in one of `names`.
fn last_type<'a>(ty: &'a Type, names: &[&str]) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    let PathArguments::AngleBracketed(args) = &last.arguments else {
        return None;
    };
    match args.args.last()? {
        GenericArgument::Type(ty) if names.iter().any(|name| last.ident == name) => Some(ty),
        _ => None,
    }
}

/// Takes a body that ends in `Box::pin(async move { .. })` apart.
fn boxed(function: &FnItem, output: Type) -> Option<Boxed> {
    let body = &function.body;
    let mut before = syn::parse2::<Block>(quote!({ #body })).ok()?.stmts;
    let Some(Stmt::Expr(Expr::Call(call), None)) = before.pop() else {
        return None;
    };
    let Expr::Path(path) = &*call.func else {
        return None;
    };
    let names: Vec<String> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    if !names.ends_with(&["Box".to_owned(), "pin".to_owned()]) {
        return None;
    }
    let Some(Expr::Async(inner)) = call.args.into_iter().next() else {
        return None;
    };
    let mut stmts = inner.block.stmts;
    let mut once = Vec::new();
    // Everything in front of `let __ret: R = { body };` is async-trait's own.
    if let Some(at) = stmts.iter().position(is_async_traits_result) {
        let rest = stmts.split_off(at);
        once = std::mem::replace(&mut stmts, rest);
        // `if let Some(__ret) = None::<R> { return __ret; }`, which we have in a form of our own.
        once.retain(|stmt| !matches!(stmt, Stmt::Expr(Expr::If(_), _)));
    }
    Some(Boxed { output, before, pin: *call.func, capture: inner.capture, once, stmts })
}

/// `let __ret: R = ..;` or `let _: () = ..;`
fn is_async_traits_result(stmt: &Stmt) -> bool {
    let Stmt::Local(Local { pat: Pat::Type(pat), .. }) = stmt else {
        return false;
    };
    match &*pat.pat {
        Pat::Ident(pat) => pat.ident == "__ret",
        Pat::Wild(_) => true,
        _ => false,
    }
}

pub(crate) fn tokens(stmts: &[Stmt]) -> TokenStream {
    quote!(#(#stmts)*)
}
