//! Generates a body that runs on a thread of its bulkhead. It can outlive the call and owns everything that it uses.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::token::Brace;
use syn::visit_mut::{self, VisitMut};
use syn::{Block, Item, Macro, Pat, Signature, Stmt, Token};

use super::Writer;
use crate::args::Args;
use crate::shape::rebound;
use crate::spans::{braced, ends, located, runtime_at};

impl Writer<'_> {
    /// Returns the body as a closure that owns what it uses.
    pub(super) fn sent_closure(&self, brace: Brace, body: &TokenStream) -> TokenStream {
        let (output, keyword) = (self.output, Token![move](self.body_start()));
        let is_renamed = copies_self(self.args) && own_self(&self.shape.once()).is_none();
        let body = braced(brace, if is_renamed { renamed(body.clone()) } else { body.clone() });
        quote_spanned!(self.body_start()=> #keyword || -> #output #body)
    }
}

/// Returns whether `self` is cloned for each attempt.
fn copies_self(args: &Args) -> bool {
    args.threads().is_some()
        && args.clone.as_ref().is_some_and(|clone| clone.value.iter().any(|ident| ident == "self"))
}

/// Returns `let __this = anew(&self);`, for a body in which `self` is renamed.
///
/// If `#[async_trait]` has already renamed it, that name is used.
pub(super) fn self_copy(args: &Args, sig: &Signature, once: &[Stmt]) -> Option<TokenStream> {
    let receiver = sig.receiver().filter(|_| copies_self(args))?;
    let clone = runtime_at(&args.krate, "anew", ends(receiver.self_token));
    let (from, copy) = match own_self(once) {
        Some(ident) => (ident.to_token_stream(), ident.clone()),
        None => (receiver.self_token.to_token_stream(), this(receiver.self_token.span)),
    };
    Some(quote_spanned! {located(receiver.self_token.span)=>
        #[allow(clippy::shadow_reuse, clippy::shadow_same, clippy::shadow_unrelated)]
        let #copy = #clone(&#from);
    })
}

/// Returns the name that `#[async_trait]` gives to `self`.
fn own_self(once: &[Stmt]) -> Option<&Ident> {
    once.iter().find_map(|stmt| match stmt {
        Stmt::Local(local) if rebound(stmt).is_some_and(|from| from == "self") => match &local.pat {
            Pat::Ident(pat) => Some(&pat.ident),
            _ => None,
        },
        _ => None,
    })
}

fn this(span: Span) -> Ident {
    Ident::new("__this", located(span))
}

/// Renames `self` in the body, because `self` cannot be rebound.
fn renamed(body: TokenStream) -> TokenStream {
    match syn::parse2::<Block>(quote!({ #body })) {
        Ok(mut block) => {
            Rename.visit_block_mut(&mut block);
            let stmts = block.stmts;
            quote!(#(#stmts)*)
        }
        // rustc reports a body that does not parse.
        Err(_) => renamed_tokens(body),
    }
}

struct Rename;

impl VisitMut for Rename {
    fn visit_path_mut(&mut self, path: &mut syn::Path) {
        if path.is_ident("self") {
            let ident = &mut path.segments[0].ident;
            *ident = this(ident.span());
        } else {
            visit_mut::visit_path_mut(self, path);
        }
    }

    fn visit_macro_mut(&mut self, makes: &mut Macro) {
        makes.tokens = renamed_tokens(std::mem::take(&mut makes.tokens));
    }

    // A nested item has its own `self` or none.
    fn visit_item_mut(&mut self, _: &mut Item) {}
}

/// Renames `self` in the tokens of a macro, except in paths such as `self::name`.
fn renamed_tokens(tokens: TokenStream) -> TokenStream {
    let mut tokens = tokens.into_iter().peekable();
    let mut renamed = TokenStream::new();
    while let Some(token) = tokens.next() {
        let is_path = matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == ':' && punct.spacing() == proc_macro2::Spacing::Joint);
        renamed.extend([match token {
            TokenTree::Ident(ident) if ident == "self" && !is_path => this(ident.span()).into(),
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), renamed_tokens(group.stream()));
                inner.set_span(group.span());
                inner.into()
            }
            token => token,
        }]);
    }
    renamed
}
