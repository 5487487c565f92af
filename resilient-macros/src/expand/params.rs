//! Which arguments are made anew for each attempt.
//!
//! There are no hidden copies: the body borrows what it only reads. A `mut` argument is copied, because what one
//! attempt changes must not leak into the next; and so is what `clone(..)` names, because the body moves it.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::visit_mut::{self, VisitMut};
use syn::{FnArg, Ident, PatIdent, Signature, Token};

use crate::args::Args;
use crate::spans::{ends, located, runtime_at};

/// A name that an argument's pattern binds.
pub(crate) struct Binding {
    pub(crate) ident: Ident,
    mutability: Option<Token![mut]>,
    by_ref: bool,
}

struct Collect {
    found: Vec<Binding>,
    /// Take the `mut` away.
    unmut: bool,
}

impl VisitMut for Collect {
    fn visit_pat_ident_mut(&mut self, pat: &mut PatIdent) {
        let (by_ref, mutability) = (pat.by_ref.is_some(), pat.mutability);
        self.found.push(Binding { ident: pat.ident.clone(), mutability, by_ref });
        if self.unmut && !by_ref {
            pat.mutability = None;
        }
        visit_mut::visit_pat_ident_mut(self, pat);
    }
}

fn collect(sig: &mut Signature, unmut: bool) -> Vec<Binding> {
    let mut collect = Collect { found: Vec::new(), unmut };
    for arg in &mut sig.inputs {
        if let FnArg::Typed(arg) = arg {
            collect.visit_pat_mut(&mut arg.pat);
        }
    }
    collect.found
}

/// The names that the arguments bind.
pub(crate) fn bindings(sig: &Signature) -> Vec<Binding> {
    collect(&mut sig.clone(), false)
}

/// `let mut x = anew(&x);` for each argument to copy. The `mut` moves from the signature to there.
pub(super) fn copies(args: &Args, sig: &mut Signature) -> TokenStream {
    if args.retry.is_none() {
        return TokenStream::new();
    }
    let is_named = |ident: &Ident| args.clone.as_ref().is_some_and(|clone| clone.value.contains(ident));
    let mut copies = TokenStream::new();
    for Binding { ident, mutability, by_ref } in collect(sig, true) {
        if by_ref || (mutability.is_none() && !is_named(&ident)) {
            continue;
        }
        // All of it at the argument, which rustc then blames if that is not `Clone`.
        let clone = runtime_at(&args.krate, "anew", ends(&ident));
        let copy = quote_spanned!(located(ident.span())=> #clone(&#ident));
        copies.extend(quote! {
            #[allow(clippy::shadow_reuse, clippy::shadow_same, clippy::shadow_unrelated)]
            let #mutability #ident = #copy;
        });
    }
    copies
}
