//! All decisions about which piece of user code an error of rustc will underline.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::Path;
use syn::token::Brace;

/// At the place of `span`, with the hygiene of the macro.
pub(crate) fn located(span: Span) -> Span {
    Span::mixed_site().located_at(span)
}

/// First and last span, so that rustc underlines all of it: `Span::join` is not stable.
pub(crate) fn ends(tokens: impl ToTokens) -> (Span, Span) {
    let mut tokens = tokens.to_token_stream().into_iter();
    let first = tokens.next().map_or_else(Span::call_site, |token| token.span());
    let last = tokens.last().map_or(first, |token| token.span());
    (located(first), located(last))
}

/// `::resilient_runtime::__rt::NAME`, blamed on the given piece of user code.
pub(crate) fn runtime_at(krate: &Path, name: &str, (first, last): (Span, Span)) -> TokenStream {
    let name = Ident::new(name, last);
    let is_default = krate.leading_colon.is_some()
        && krate.segments.len() == 1
        && krate.segments[0].ident == "resilient_runtime";
    let krate = if is_default {
        let ident = Ident::new(&krate.segments[0].ident.to_string(), first);
        quote_spanned!(first=> ::#ident)
    } else {
        quote!(#krate)
    };
    quote_spanned!(first=> #krate::__rt::#name)
}

/// `{ .. }` with the spans of the user's own braces: errors about the body as a whole point there.
pub(crate) fn braced(brace: Brace, tokens: TokenStream) -> TokenTree {
    let mut group = Group::new(Delimiter::Brace, tokens);
    // The user's own span, unresolved: with the macro's hygiene, coverage tools skip the body.
    group.set_span(brace.span.join());
    TokenTree::Group(group)
}
