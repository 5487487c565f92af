//! Completion and hover inside `#[resilient(...)]`, for rust-analyzer only.
//!
//! The technique comes from the crate `bon`: the words typed so far appear in a `use` of a module that contains one
//! documented module for each argument, and the editor completes from that module.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{format_ident, quote};
use resilient_options::TABLES;
use syn::Path;

/// Returns a statement for the start of the function body. rustc ignores it.
pub(crate) fn triggers(args: &TokenStream, krate: &Path) -> TokenStream {
    let arguments = keys(args.clone());
    let words = |argument: &str, group: &str, options: TokenStream| {
        let words = keys(options);
        let source = format_ident!("{argument}");
        let (module, path) = if group.is_empty() {
            (format_ident!("__{argument}"), quote!(#source))
        } else {
            let inner = format_ident!("{group}");
            (format_ident!("__{argument}_{group}"), quote!(#source::#inner))
        };
        quote!(mod #module { use #krate::__rt::ide::#path::*; use self::{ #(#words as _,)* }; })
    };
    let mut options = Vec::new();
    for table in TABLES.iter().filter(|table| !table.argument.is_empty()) {
        let Some(inner) = inside(args.clone(), table.argument) else { continue };
        for option in table.options("").filter(|option| table.options(option.option).next().is_some()) {
            if let Some(innermost) = inside(inner.clone(), option.option) {
                options.push(words(table.argument, option.option, innermost));
            }
        }
        options.push(words(table.argument, "", inner));
    }
    quote! {
        #[allow(unexpected_cfgs)]
        const _: () = {
            #[cfg(rust_analyzer)]
            {
                mod __arguments { use #krate::__rt::ide::arguments::*; use self::{ #(#arguments as _,)* }; }
                #(#options)*
            }
        };
    }
}

/// Returns the identifier at the start of each comma-separated part.
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

/// Returns the content of the parentheses after `key`.
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
