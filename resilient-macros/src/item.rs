//! Parses a function and keeps its body as tokens, so that incomplete bodies parse and complete ones cost nothing.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::token::Brace;
use syn::{Attribute, Error, Result, Signature, Token, Visibility, braced};

pub(crate) struct FnItem {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) inner_attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) brace: Brace,
    pub(crate) body: TokenStream,
}

impl Parse for FnItem {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis: Visibility = input.parse()?;
        if let Some((what, span)) = other_item(input) {
            return Err(Error::new(
                span,
                format!("`#[resilient]` can be used only on a function or method, not on {what}"),
            ));
        }
        let sig: Signature = input.parse()?;
        if input.peek(Token![;]) {
            return Err(Error::new_spanned(
                &sig.ident,
                "`#[resilient]` needs a function body: put it on the implementation, or give the trait method a \
                 default body",
            ));
        }
        let content;
        let brace = braced!(content in input);
        let inner_attrs = content.call(Attribute::parse_inner)?;
        let body = content.parse()?;
        Ok(Self { attrs, inner_attrs, vis, sig, brace, body })
    }
}

fn other_item(input: ParseStream<'_>) -> Option<(&'static str, Span)> {
    let what = if input.peek(Token![struct]) {
        "a struct"
    } else if input.peek(Token![enum]) {
        "an enum"
    } else if input.peek(Token![union]) && input.peek2(syn::Ident) {
        "a union"
    } else if input.peek(Token![impl]) || (input.peek(Token![unsafe]) && input.peek2(Token![impl])) {
        "an impl block; put it on the methods"
    } else if input.peek(Token![trait]) || (input.peek(Token![unsafe]) && input.peek2(Token![trait])) {
        "a trait; put it on the methods that have a body"
    } else if input.peek(Token![mod]) {
        "a module"
    } else if input.peek(Token![static]) {
        "a static"
    } else if input.peek(Token![const]) && input.peek2(syn::Ident) && input.peek3(Token![:]) {
        "a constant"
    } else if input.peek(Token![type]) {
        "a type"
    } else if input.peek(Token![let]) {
        "a statement; make the closure a function"
    } else if input.peek(Token![use]) {
        "a use declaration"
    } else {
        return None;
    };
    Some((what, input.span()))
}

impl FnItem {
    /// Returns the function with another body.
    pub(crate) fn with_body(&self, body: &TokenStream) -> TokenStream {
        let Self { attrs, inner_attrs, vis, sig, brace, .. } = self;
        let mut out = quote!(#(#attrs)* #vis #sig);
        brace.surround(&mut out, |tokens| {
            for attr in inner_attrs {
                attr.to_tokens(tokens);
            }
            body.to_tokens(tokens);
        });
        out
    }

    /// Returns the original function without `#[resilient]`.
    pub(crate) fn tokens(&self) -> TokenStream {
        self.with_body(&self.body)
    }

    pub(crate) fn prepend(&mut self, mut first: TokenStream) {
        first.extend(std::mem::take(&mut self.body));
        self.body = first;
    }
}
