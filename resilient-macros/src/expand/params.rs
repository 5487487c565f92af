//! Which arguments are made anew for each attempt.
//!
//! There are no hidden copies: the body borrows what it only reads. A `mut` argument is copied, because what one
//! attempt changes must not leak into the next; and so is what `clone(..)` names, because the body moves it.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::visit_mut::{self, VisitMut};
use syn::{Attribute, FnArg, Ident, Pat, PatIdent, Signature, Stmt, Token};

use super::threads::self_copy;
use crate::args::Args;
use crate::shape::{Shape, rebound};
use crate::spans::{ends, located, runtime_at};

/// A name that an argument's pattern binds.
pub(crate) struct Binding {
    pub(crate) ident: Ident,
    pub(super) mutability: Option<Token![mut]>,
    pub(super) by_ref: bool,
    /// `#[cfg(..)]` of the argument, which may not be there at all.
    pub(super) cfgs: Vec<Attribute>,
    /// `#[allow(..)]` of the argument, and its kind.
    lints: Vec<Attribute>,
}

struct Collect {
    found: Vec<Binding>,
    /// Take the `mut` away.
    unmut: bool,
    cfgs: Vec<Attribute>,
    lints: Vec<Attribute>,
}

impl VisitMut for Collect {
    fn visit_pat_ident_mut(&mut self, pat: &mut PatIdent) {
        let (by_ref, mutability) = (pat.by_ref.is_some(), pat.mutability);
        let (cfgs, lints) = (self.cfgs.clone(), self.lints.clone());
        self.found.push(Binding { ident: pat.ident.clone(), mutability, by_ref, cfgs, lints });
        if self.unmut && !by_ref {
            pat.mutability = None;
        }
        visit_mut::visit_pat_ident_mut(self, pat);
    }
}

impl Collect {
    fn pattern(&mut self, attrs: &[Attribute], pat: &mut Pat) {
        self.cfgs = attrs.iter().filter(|attr| attr.path().is_ident("cfg")).cloned().collect();
        self.lints = attrs.iter().filter(|attr| is_lint(attr)).cloned().collect();
        self.visit_pat_mut(pat);
    }
}

fn is_lint(attr: &Attribute) -> bool {
    ["allow", "expect", "warn", "deny", "forbid"].iter().any(|level| attr.path().is_ident(level))
}

/// `once` is where `#[async_trait]` binds the arguments: what it takes from the signature is found there.
fn collect(sig: &mut Signature, once: &mut [Stmt], unmut: bool) -> Vec<Binding> {
    let mut collect = Collect { found: Vec::new(), unmut, cfgs: Vec::new(), lints: Vec::new() };
    for arg in &mut sig.inputs {
        if let FnArg::Typed(arg) = arg {
            let found = collect.found.len();
            collect.pattern(&arg.attrs, &mut arg.pat);
            // What is expected of a `mut` is expected where that goes.
            let is_moved = |it: &Binding| it.mutability.is_some() && !it.by_ref;
            if unmut && collect.found[found..].iter().any(is_moved) {
                arg.attrs.retain(|attr| !attr.path().is_ident("expect"));
            }
        }
    }
    collect.found.retain(|binding| !once.iter().any(|stmt| rebound(stmt) == Some(&binding.ident)));
    for stmt in once {
        if rebound(stmt).is_some_and(|from| from == "self") {
            continue;
        }
        if let Stmt::Local(local) = stmt {
            collect.pattern(&local.attrs, &mut local.pat);
        }
    }
    collect.found
}

/// The names that the arguments bind.
pub(crate) fn bindings(sig: &Signature, shape: &Shape) -> Vec<Binding> {
    collect(&mut sig.clone(), &mut shape.once(), false)
}

/// `let mut x = anew(&x);` for each argument to copy. The `mut` moves from the signature to there, unless something
/// stands before the attempts that may need it, too.
pub(super) fn copies(args: &Args, sig: &mut Signature, shape: &Shape, once: &mut [Stmt]) -> TokenStream {
    if !args.repeats() && args.threads().is_none() {
        return TokenStream::new();
    }
    if shape.has_before() {
        for arg in &mut sig.inputs {
            if let FnArg::Typed(arg) = arg {
                arg.attrs.push(syn::parse_quote!(#[allow(unused_mut)]));
            }
        }
    }
    let is_named = |ident: &Ident| args.clone.as_ref().is_some_and(|clone| clone.value.contains(ident));
    let mut copies = self_copy(args, sig, once).unwrap_or_default();
    for Binding { ident, mutability, by_ref, cfgs, lints } in
        collect(sig, once, args.repeats() && !shape.has_before())
    {
        // A body that runs once may change what it was given.
        let is_changed = args.repeats() && mutability.is_some();
        if by_ref || (!is_changed && !is_named(&ident)) {
            continue;
        }
        // All of it at the argument, which rustc then blames if that is not `Clone`.
        let clone = runtime_at(&args.krate, "anew", ends(&ident));
        let copy = quote_spanned!(located(ident.span())=> #clone(&#ident));
        // What needs the `mut` may be only what stands before.
        let unmut = shape.has_before().then(|| quote!(#[allow(unused_mut)]));
        // The `mut` that a lint of the argument is about is here now.
        let lints = lints.iter().filter(|_| is_changed);
        copies.extend(quote! {
            #(#cfgs)*
            #(#lints)*
            #unmut
            #[allow(clippy::shadow_reuse, clippy::shadow_same, clippy::shadow_unrelated, clippy::collection_is_never_read)]
            let #mutability #ident = #copy;
        });
    }
    copies
}
