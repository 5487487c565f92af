//! From the checked parts to the emitted function.

mod around;
mod fallback;
mod hedge;
mod lifetime;
mod moved;
mod once;
mod params;
mod parts;
mod share;
mod site;
mod threads;
mod unsure;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};
use syn::parse::{ParseStream, Parser};
use syn::token::Brace;
use syn::{Item, Path, ReturnType, Token, Type};

pub(crate) use fallback::has_hole;
use params::Binding;
pub(crate) use params::bindings;

use crate::args::Args;
use crate::item::FnItem;
use crate::shape::{Shape, tokens};
use crate::spans::{braced, ends, located, runtime_at};

pub(crate) fn expand(
    args: &Args,
    mut function: FnItem,
    shape: &Shape,
    completion: &TokenStream,
) -> TokenStream {
    let output = shape.attempt_type(&function);
    let mut once = shape.once();
    let bound = bindings(&function.sig, shape);
    let copies = params::copies(args, &mut function.sig, shape, &mut once);
    if !copies.is_empty() || matches!(shape, Shape::Sync) {
        // Where each attempt gets a copy, the function does not use the argument up, and its caller need not care.
        // And clippy does not see that a closure does.
        function.attrs.push(syn::parse_quote!(#[allow(clippy::needless_pass_by_value)]));
    }
    let writer = Writer { args, function: &function, shape, output: &output, copies: &copies, bound: &bound };
    let mixed = Span::mixed_site();
    let site = writer.site();
    // Written out for clippy, as in `Writer::call`.
    let returned = Token![return](mixed);
    let body = match shape {
        Shape::Sync | Shape::Async if args.threads().is_some() => {
            let call = writer.call(&writer.sent_closure(function.brace, &function.body));
            quote!(#completion #site #call)
        }
        Shape::Sync => {
            let call = writer.call(&writer.closure());
            quote!(#completion #site #call)
        }
        Shape::Async => {
            let call = writer.call(&writer.async_block(function.brace, &function.body));
            quote!(#completion #site #call)
        }
        Shape::ReturnsFuture(_) => {
            let body = braced(function.brace, function.body.clone());
            let call = writer.call(&writer.async_block(function.brace, &quote_spanned!(mixed=> #body.await)));
            quote_spanned!(mixed=> #completion #site #returned async move { #call };)
        }
        Shape::AsyncBlock(block) => {
            let (before, once) = (tokens(&block.before), tokens(&once));
            let capture = &block.capture;
            let body = tokens(&block.stmts);
            let call = match args.threads() {
                Some(_) => writer.call(&writer.sent_closure(block.brace, &body)),
                None => writer.call(&writer.async_block(block.brace, &body)),
            };
            let future = quote_spanned!(mixed=> async #capture { #once #call });
            let future =
                block.pin.as_ref().map_or(future.clone(), |pin| quote_spanned!(mixed=> #pin(#future)));
            quote_spanned!(mixed=> #completion #before #site #returned #future;)
        }
    };
    function.with_body(&body)
}

/// The items that a body begins with, and the rest. A body that does not begin with one is not looked at.
fn leading_items(body: TokenStream) -> (TokenStream, TokenStream) {
    const WORDS: [&str; 16] = [
        "fn",
        "struct",
        "enum",
        "union",
        "const",
        "static",
        "use",
        "mod",
        "type",
        "trait",
        "impl",
        "unsafe",
        "async",
        "extern",
        "pub",
        "macro_rules",
    ];
    let may_be = match body.clone().into_iter().next() {
        Some(TokenTree::Ident(ident)) => WORDS.iter().any(|word| ident == word),
        Some(TokenTree::Punct(punct)) => punct.as_char() == '#',
        _ => false,
    };
    if !may_be {
        return (TokenStream::new(), body);
    }
    let split = |input: ParseStream<'_>| {
        let mut items = TokenStream::new();
        loop {
            let ahead = input.fork();
            match ahead.parse::<Item>() {
                Ok(Item::Macro(it)) if it.ident.is_none() => break,
                Ok(Item::Verbatim(_)) | Err(_) => break,
                Ok(_) => {
                    // The tokens as they were written.
                    while input.cursor() != ahead.cursor() {
                        items.extend([input.parse::<TokenTree>()?]);
                    }
                }
            }
        }
        Ok((items, input.parse()?))
    };
    split.parse2(body.clone()).unwrap_or((TokenStream::new(), body))
}

/// Writes the pieces of the new body.
struct Writer<'a> {
    args: &'a Args,
    function: &'a FnItem,
    shape: &'a Shape,
    /// What an attempt returns.
    output: &'a Type,
    /// What is made anew for each attempt.
    copies: &'a TokenStream,
    /// The arguments as they were written.
    bound: &'a [Binding],
}

impl Writer<'_> {
    fn krate(&self) -> &Path {
        &self.args.krate
    }

    /// `::resilient_runtime::__rt::NAME`, blamed on the whole return type.
    fn runtime_at_output(&self, name: &str) -> TokenStream {
        runtime_at(self.krate(), name, self.output_ends())
    }

    /// Where the whole return type stands, or the function's name where it has none.
    fn output_ends(&self) -> (Span, Span) {
        match &self.function.sig.output {
            ReturnType::Default => ends(&self.function.sig.ident),
            ReturnType::Type(_, ty) => ends(ty),
        }
    }

    /// `::resilient_runtime::__rt::NAME`, blamed on the `E` of `Result<T, E>` where that is written out.
    fn runtime_at_error(&self, name: &str) -> TokenStream {
        if let Some(error) = self.error_type() {
            return runtime_at(self.krate(), name, ends(error));
        }
        self.runtime_at_output(name)
    }

    fn body_start(&self) -> Span {
        located(self.function.brace.span.open())
    }

    /// The body of a synchronous function. Not `move`: what it only reads stays for the next attempt.
    fn closure(&self) -> TokenStream {
        let output = self.output;
        let body = braced(self.function.brace, self.function.body.clone());
        quote_spanned!(self.body_start()=> || -> #output #body)
    }

    /// The body of an asynchronous function. Not `move`, likewise, where anything after it may need an argument.
    fn async_block(&self, brace: Brace, body: &TokenStream) -> TokenStream {
        let edge = self.edge();
        // Of attempts at the same time each has its own.
        let copies = self.args.hedge.as_ref().map(|_| self.copies);
        // Items see no variables; behind statements clippy does not like them.
        let (items, body) = leading_items(body.clone());
        let block = braced(brace, quote!(#items #copies #edge #body));
        let keyword = Token![async](self.body_start());
        let capture = self.owns_arguments().then(|| Token![move](self.body_start()));
        quote!(#keyword #capture #block)
    }

    /// Tells inference what `?`, `return` and the last expression of an `async` block must be.
    fn edge(&self) -> TokenStream {
        let output = self.output;
        let (edge_at, _) = self.output_ends();
        quote_spanned! {edge_at=>
            #[allow(unreachable_code, clippy::all, clippy::pedantic, clippy::nursery)]
            if false {
                let __edge: #output = loop {};
                return __edge;
            }
        }
    }

    /// Whether nothing but one run of the body uses the arguments. Then it may own them, so that a future that
    /// holds one that is `Send` and not `Sync` is `Send`, as it is without the attribute.
    fn owns_arguments(&self) -> bool {
        let args = self.args;
        !args.repeats()
            && args.coalesce.is_none()
            && args.fallback.is_none()
            && args.failure.is_none()
            && args.map_err.is_none()
    }
}
