//! Completion and hover inside `#[resilient(...)]`, for rust-analyzer only.
//!
//! The idea is that of the crate `bon`: the words typed so far appear in a `use` of a module that holds one
//! documented module for each argument, and the editor offers what that module holds.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{format_ident, quote};
use syn::Path;

/// The arguments that have options, as modules of `__rt::ide`.
const WITH_OPTIONS: &[&str] = &[
    "circuit_breaker",
    "retry",
    "bulkhead",
    "timeout",
    "fallback",
    "rate_limit",
    "hedge",
    "coalesce",
    "load_shed",
    "idempotent",
];

/// Options that have options of their own.
const NESTED: &[(&str, &str)] = &[("timeout", "adaptive")];

/// A statement for the top of the function body; nothing to rustc.
pub(crate) fn triggers(args: &TokenStream, krate: &Path) -> TokenStream {
    let arguments = keys(args.clone());
    let words = |name: &str, options: TokenStream| {
        let words = keys(options);
        let (module, source) = (format_ident!("__{name}"), format_ident!("{name}"));
        quote!(mod #module { use #krate::__rt::ide::#source::*; use self::{ #(#words as _,)* }; })
    };
    let options =
        WITH_OPTIONS.iter().filter_map(|argument| Some(words(argument, inside(args.clone(), argument)?)));
    let nested = NESTED.iter().filter_map(|(argument, option)| {
        Some(words(option, inside(inside(args.clone(), argument)?, option)?))
    });
    quote! {
        #[allow(unexpected_cfgs)]
        const _: () = {
            #[cfg(rust_analyzer)]
            {
                mod __arguments { use #krate::__rt::ide::arguments::*; use self::{ #(#arguments as _,)* }; }
                #(#options)*
                #(#nested)*
            }
        };
    }
}

/// The identifier at the start of each comma-separated part.
fn keys(tokens: TokenStream) -> Vec<Ident> {
    let mut at_start = true;
    let mut found = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if at_start => {
                // A keyword cannot be imported.
                if syn::parse2::<Ident>(TokenTree::Ident(ident.clone()).into()).is_ok() {
                    found.push(ident);
                }
                at_start = false;
            }
            TokenTree::Punct(punct) if punct.as_char() == ',' => at_start = true,
            _ => at_start = false,
        }
    }
    found
}

/// What is in the parentheses after `key`.
fn inside(tokens: TokenStream, key: &str) -> Option<TokenStream> {
    let mut found = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) if found => return Some(group.stream()),
            TokenTree::Ident(ident) => found = ident == key,
            _ => found = false,
        }
    }
    None
}
