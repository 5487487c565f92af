//! Spans that determine which part of the user's code a rustc error underlines.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::Path;
use syn::token::Brace;

/// Returns the location of `span` with the hygiene of the macro.
pub(crate) fn located(span: Span) -> Span {
    Span::mixed_site().located_at(span)
}

/// Returns the first and last span, so that rustc underlines everything between them. `Span::join` is not stable.
pub(crate) fn ends(tokens: impl ToTokens) -> (Span, Span) {
    let mut tokens = tokens.to_token_stream().into_iter();
    let first = tokens.next().map_or_else(Span::call_site, |token| token.span());
    let last = tokens.last().map_or(first, |token| token.span());
    (located(first), located(last))
}

/// Returns `::resilient_runtime::__rt::NAME` with the span of the given user code.
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

/// Returns `{ .. }` with the spans of the user's braces, to which errors about the whole body point.
pub(crate) fn braced(brace: Brace, tokens: TokenStream) -> TokenTree {
    let mut group = Group::new(Delimiter::Brace, tokens);
    // The user's span without the macro's hygiene: with it, coverage tools skip the body.
    group.set_span(brace.span.join());
    TokenTree::Group(group)
}
