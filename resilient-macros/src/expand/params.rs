//! Generates the clones of arguments for each attempt.
//!
//! There are no hidden clones: the body borrows what it only reads. A `mut` argument is cloned, because changes in one
//! attempt must not be visible in the next. An argument in `clone(..)` is cloned, because the body moves it.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::visit_mut::{self, VisitMut};
use syn::{Attribute, FnArg, Ident, Pat, PatIdent, Signature, Stmt, Token};

use super::threads::self_copy;
use crate::args::Args;
use crate::shape::{Shape, rebound};
use crate::spans::{ends, located, runtime_at};

/// A name that the pattern of an argument binds.
pub(crate) struct Binding {
    pub(crate) ident: Ident,
    pub(super) mutability: Option<Token![mut]>,
    pub(super) by_ref: bool,
    /// `#[cfg(..)]` attributes of the argument, which may remove it.
    pub(super) cfgs: Vec<Attribute>,
    /// `#[allow(..)]` and other lint attributes of the argument.
    lints: Vec<Attribute>,
}

struct Collect {
    found: Vec<Binding>,
    /// Whether to remove `mut`.
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

/// Collects the bindings of all arguments. `once` are the statements in which `#[async_trait]` rebinds arguments.
fn collect(sig: &mut Signature, once: &mut [Stmt], unmut: bool) -> Vec<Binding> {
    let mut collect = Collect { found: Vec::new(), unmut, cfgs: Vec::new(), lints: Vec::new() };
    for arg in &mut sig.inputs {
        if let FnArg::Typed(arg) = arg {
            let found = collect.found.len();
            collect.pattern(&arg.attrs, &mut arg.pat);
            // `#[expect]` about a `mut` moves with the `mut`.
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

/// Returns the names that the arguments bind.
pub(crate) fn bindings(sig: &Signature, shape: &Shape) -> Vec<Binding> {
    collect(&mut sig.clone(), &mut shape.once(), false)
}

/// Returns `let mut x = anew(&x);` for each argument to clone.
///
/// The `mut` moves from the signature to this statement, unless statements before the attempts may need it as well.
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
        // A body that runs once may change its arguments.
        let is_changed = args.repeats() && mutability.is_some();
        if by_ref || (!is_changed && !is_named(&ident)) {
            continue;
        }
        // All tokens get the span of the argument, to which rustc then points if it is not `Clone`.
        let clone = runtime_at(&args.krate, "anew", ends(&ident));
        let copy = quote_spanned!(located(ident.span())=> #clone(&#ident));
        // Possibly only the statements before the attempts need the `mut`.
        let unmut = shape.has_before().then(|| quote!(#[allow(unused_mut)]));
        // Lint attributes about the `mut` of the argument apply here now.
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
