//! Determines the kind of function: synchronous, `async`, or returning a future.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::token::Brace;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Block, Expr, GenericArgument, Ident, Local, LocalInit, Pat, PathArguments, ReturnType, Stmt, Token, Type,
    TypeParamBound, parse_quote,
};

use crate::diag::Errors;
use crate::item::FnItem;

pub(crate) enum Shape {
    /// `fn f() -> R`
    Sync,
    /// `async fn f() -> R`
    Async,
    /// `fn f() -> impl Future<Output = R>` with any final expression.
    ReturnsFuture(Box<Type>),
    /// A function that ends in `async move { .. }`, or `fn f() -> Pin<Box<dyn Future<Output = R>>>` that ends in
    /// `Box::pin(async move { .. })`, as `#[async_trait]` generates it.
    AsyncBlock(Box<AsyncBlock>),
}

pub(crate) struct AsyncBlock {
    output: Type,
    /// Statements before the final expression. They run once when the function is called, not for each attempt.
    pub(crate) before: Vec<Stmt>,
    /// `Box::pin`, as written.
    pub(crate) pin: Option<Expr>,
    pub(crate) capture: Option<Token![move]>,
    /// `let x = x;` statements that `#[async_trait]` adds before the body. They run once, not for each attempt.
    once: Vec<Stmt>,
    pub(crate) brace: Brace,
    /// Statements of the body.
    pub(crate) stmts: Vec<Stmt>,
}

impl Shape {
    pub(crate) fn of(function: &FnItem, repeats: bool, errors: &mut Errors) -> Self {
        if function.sig.asyncness.is_some() {
            return Self::Async;
        }
        let ReturnType::Type(_, ty) = &function.sig.output else {
            return Self::Sync;
        };
        if let Type::ImplTrait(bounds) = plain(ty) {
            let Some(output) = future_output(bounds.bounds.iter()) else {
                return Self::Sync;
            };
            return match async_block(function, &output) {
                // The block may consume values created before it, and then each attempt must create them again.
                Some(block) if block.pin.is_none() && (block.before.is_empty() || !repeats) => {
                    Self::AsyncBlock(Box::new(block))
                }
                _ => Self::ReturnsFuture(Box::new(output)),
            };
        }
        let written = boxed_output(ty);
        // The type may be an alias of a future; rustc knows its output.
        let output = written.clone().unwrap_or_else(|| parse_quote!(<#ty as ::core::future::Future>::Output));
        let may_be_boxed = written.is_some() || may_be_alias(function, ty);
        if may_be_boxed
            && let Some(block) = async_block(function, &output).filter(|block| block.pin.is_some())
        {
            return Self::AsyncBlock(Box::new(block));
        }
        if written.is_none() {
            return Self::Sync;
        }
        errors.at(
            ty,
            "`#[resilient]` cannot access the future inside this box; write `async fn`, return `impl Future`, or end \
             the function with `Box::pin(async move { .. })`",
        );
        Self::Sync
    }

    /// Returns the type that an attempt produces, with `_` for `impl Trait`.
    pub(crate) fn attempt_type(&self, function: &FnItem) -> Type {
        let mut ty = match (self, &function.sig.output) {
            (Self::ReturnsFuture(output), _) => (**output).clone(),
            (Self::AsyncBlock(block), _) => block.output.clone(),
            (_, ReturnType::Default) => parse_quote!(()),
            (_, ReturnType::Type(_, ty)) => (**ty).clone(),
        };
        EraseImplTrait.visit_type_mut(&mut ty);
        ty
    }

    /// Returns whether statements run before the attempts; they may change an argument for all attempts.
    pub(crate) fn has_before(&self) -> bool {
        matches!(self, Self::AsyncBlock(block) if !block.before.is_empty())
    }

    /// Returns the statements in which `#[async_trait]` binds the arguments.
    pub(crate) fn once(&self) -> Vec<Stmt> {
        match self {
            Self::AsyncBlock(block) => block.once.clone(),
            Self::Sync | Self::Async | Self::ReturnsFuture(_) => Vec::new(),
        }
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

/// Removes parentheses and the group that `macro_rules!` puts around a `$ty:ty`.
pub(crate) fn plain(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return ty,
        };
    }
}

/// Returns `R` of the bound `Future<Output = R>`.
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

/// Returns whether the return type may be an alias of a boxed future, because the body mentions `Box`.
///
/// The body is parsed only in this case.
fn may_be_alias(function: &FnItem, ty: &Type) -> bool {
    let is_path = matches!(plain(ty), Type::Path(_)) && !has_impl_trait(ty);
    is_path
        && function
            .body
            .clone()
            .into_iter()
            .any(|token| matches!(token, TokenTree::Ident(ident) if ident == "Box"))
}

fn has_impl_trait(ty: &Type) -> bool {
    struct Find(bool);
    impl VisitMut for Find {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            self.0 |= matches!(ty, Type::ImplTrait(_) | Type::Infer(_));
            visit_mut::visit_type_mut(self, ty);
        }
    }
    let mut find = Find(false);
    find.visit_type_mut(&mut ty.clone());
    find.0
}

/// Returns `R` of `Pin<Box<dyn Future<Output = R>>>`, `BoxFuture<'_, R>` or `LocalBoxFuture<'_, R>`.
fn boxed_output(ty: &Type) -> Option<Type> {
    if let Some(inner) = last_type(ty, &["BoxFuture", "LocalBoxFuture"]) {
        // An alias defined by the user may contain the error type.
        let is_outcome = last_type(inner, &["Result", "Option"]).is_some();
        return Some(if is_outcome {
            inner.clone()
        } else {
            parse_quote!(<#ty as ::core::future::Future>::Output)
        });
    }
    match plain(last_type(last_type(ty, &["Pin"])?, &["Box"])?) {
        Type::TraitObject(object) => future_output(object.bounds.iter()),
        Type::ImplTrait(object) => future_output(object.bounds.iter()),
        _ => None,
    }
}

/// Returns the last generic argument of a path that ends in one of `names`.
fn last_type<'a>(ty: &'a Type, names: &[&str]) -> Option<&'a Type> {
    let Type::Path(path) = plain(ty) else { return None };
    let last = path.path.segments.last()?;
    let PathArguments::AngleBracketed(args) = &last.arguments else {
        return None;
    };
    match args.args.last()? {
        GenericArgument::Type(ty) if names.iter().any(|name| last.ident == name) => Some(ty),
        _ => None,
    }
}

/// Splits a body that ends in `async move { .. }` or `Box::pin(async move { .. })`, with or without `return`.
fn async_block(function: &FnItem, output: &Type) -> Option<AsyncBlock> {
    let body = &function.body;
    let mut before = syn::parse2::<Block>(quote!({ #body })).ok()?.stmts;
    let last = match before.pop()? {
        Stmt::Expr(Expr::Return(last), _) => *last.expr?,
        Stmt::Expr(last, None) => last,
        _ => return None,
    };
    let (pin, inner) = match last {
        Expr::Async(inner) => (None, inner),
        Expr::Call(call) if is_box_pin(&call.func) => match call.args.into_iter().next()? {
            Expr::Async(inner) => (Some(*call.func), inner),
            _ => return None,
        },
        _ => return None,
    };
    if !inner.attrs.is_empty() {
        return None;
    }
    let mut stmts = inner.block.stmts;
    let once = async_traits_own(&mut stmts);
    // `#[async_trait]` uses the user's braces for the function.
    let brace = if once.is_empty() { inner.block.brace_token } else { function.brace };
    Some(AsyncBlock { output: output.clone(), before, pin, capture: inner.capture, once, brace, stmts })
}

fn is_box_pin(function: &Expr) -> bool {
    let Expr::Path(path) = function else { return false };
    let names: Vec<String> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    names.ends_with(&["Box".to_owned(), "pin".to_owned()])
}

/// Removes the statements that `#[async_trait]` adds before the body.
///
/// All other statements are the user's and run in each attempt.
///
/// ```text
/// if let Some(__ret) = None::<R> { return __ret; }    // dropped: `Writer::edge` replaces it
/// let __self = self;
/// let mut x = x;                                      // returned
/// let (a, b) = { let __arg1 = __arg1; __arg1 };
/// let __ret: R = { body };                            // kept, or `let _: () = { body };`
/// __ret
/// ```
fn async_traits_own(stmts: &mut Vec<Stmt>) -> Vec<Stmt> {
    let Some(at) = stmts.iter().position(is_async_traits_result) else {
        return Vec::new();
    };
    let hint = usize::from(stmts.first().is_some_and(is_async_traits_hint));
    if !stmts[hint..at].iter().all(|stmt| rebound(stmt).is_some()) {
        return Vec::new();
    }
    let rest = stmts.split_off(at);
    std::mem::replace(stmts, rest).split_off(hint)
}

/// Returns whether a statement is `if let Some(__ret) = None::<R> { .. }`.
fn is_async_traits_hint(stmt: &Stmt) -> bool {
    let Stmt::Expr(Expr::If(hint), _) = stmt else {
        return false;
    };
    let Expr::Let(condition) = &*hint.cond else {
        return false;
    };
    matches!(&*condition.pat, Pat::TupleStruct(some) if matches!(some.elems.first(), Some(Pat::Ident(pat)) if pat.ident == "__ret"))
}

/// Returns whether a statement is `let __ret: R = ..;` or `let _: () = ..;`.
fn is_async_traits_result(stmt: &Stmt) -> bool {
    let Stmt::Local(Local { pat: Pat::Type(pat), .. }) = stmt else {
        return false;
    };
    match &*pat.pat {
        Pat::Ident(pat) => pat.ident == "__ret",
        Pat::Wild(_) => matches!(&*pat.ty, Type::Tuple(tuple) if tuple.elems.is_empty()),
        _ => false,
    }
}

/// Returns `x` of `let PATTERN = x;` or `let PATTERN = { let x = x; x };`.
pub(crate) fn rebound(stmt: &Stmt) -> Option<&Ident> {
    let Stmt::Local(Local { init: Some(LocalInit { expr, diverge: None, .. }), .. }) = stmt else {
        return None;
    };
    match &**expr {
        Expr::Path(path) => path.path.get_ident(),
        Expr::Block(block) => match &*block.block.stmts {
            [first, Stmt::Expr(Expr::Path(path), None)] if rebound(first) == path.path.get_ident() => {
                path.path.get_ident()
            }
            _ => None,
        },
        _ => None,
    }
}

pub(crate) fn tokens(stmts: &[Stmt]) -> TokenStream {
    quote!(#(#stmts)*)
}
