//! Collects errors, so that the compiler reports all of them at once.

use std::fmt::Display;

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// Adds an error that underlines all of `tokens`.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.push(syn::Error::new_spanned(tokens, message));
    }

    pub(crate) fn span(&mut self, span: Span, message: impl Display) {
        self.push(syn::Error::new(span, message));
    }

    /// Returns the number of errors, to detect whether a part has added any.
    pub(crate) fn count(&self) -> usize {
        self.0.as_ref().map_or(0, |all| all.clone().into_iter().count())
    }

    pub(crate) fn finish(self) -> Option<syn::Error> {
        self.0
    }
}

/// Emits the function before the errors, because editors prefer the first occurrence of a span.
pub(crate) fn with_original(mut item: TokenStream, error: &syn::Error) -> TokenStream {
    item.extend(error.to_compile_error());
    item
}
