//! Generates the new function from the checked parts.

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
        // With clones for each attempt, the function does not consume the argument, which the caller need not know.
        // Without them, clippy does not see that the closure consumes it.
        function.attrs.push(syn::parse_quote!(#[allow(clippy::needless_pass_by_value)]));
    }
    let writer = Writer { args, function: &function, shape, output: &output, copies: &copies, bound: &bound };
    let mixed = Span::mixed_site();
    let site = writer.site();
    // An explicit `return` for clippy, as in `Writer::call`.
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

/// Splits a body into its leading items and the rest. A body that does not start with an item is not parsed.
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
                    // Copy the original tokens.
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

/// Generates the parts of the new body.
struct Writer<'a> {
    args: &'a Args,
    function: &'a FnItem,
    shape: &'a Shape,
    /// Type that an attempt returns.
    output: &'a Type,
    /// Statements that clone arguments for each attempt.
    copies: &'a TokenStream,
    /// Names that the arguments bind.
    bound: &'a [Binding],
}

impl Writer<'_> {
    fn krate(&self) -> &Path {
        &self.args.krate
    }

    /// Returns `::resilient_runtime::__rt::NAME` with the span of the return type.
    fn runtime_at_output(&self, name: &str) -> TokenStream {
        runtime_at(self.krate(), name, self.output_ends())
    }

    /// Returns the first and last span of the return type, or of the function's name if there is none.
    fn output_ends(&self) -> (Span, Span) {
        match &self.function.sig.output {
            ReturnType::Default => ends(&self.function.sig.ident),
            ReturnType::Type(_, ty) => ends(ty),
        }
    }

    /// Returns `::resilient_runtime::__rt::NAME` with the span of `E` if the return type is written as `Result<T, E>`.
    fn runtime_at_error(&self, name: &str) -> TokenStream {
        if let Some(error) = self.error_type() {
            return runtime_at(self.krate(), name, ends(error));
        }
        self.runtime_at_output(name)
    }

    fn body_start(&self) -> Span {
        located(self.function.brace.span.open())
    }

    /// Returns the body of a synchronous function as a closure.
    ///
    /// It is not `move`, so that arguments that the body only reads remain available for the next attempt.
    fn closure(&self) -> TokenStream {
        let output = self.output;
        let body = braced(self.function.brace, self.function.body.clone());
        quote_spanned!(self.body_start()=> || -> #output #body)
    }

    /// Returns the body of an asynchronous function as an `async` block.
    ///
    /// It is not `move` if code after the body may need an argument.
    fn async_block(&self, brace: Brace, body: &TokenStream) -> TokenStream {
        let edge = self.edge();
        // Concurrent attempts each need their own clones.
        let copies = self.args.hedge.as_ref().map(|_| self.copies);
        // Items cannot use variables, and clippy warns about items after statements.
        let (items, body) = leading_items(body.clone());
        let block = braced(brace, quote!(#items #copies #edge #body));
        let keyword = Token![async](self.body_start());
        let capture = self.owns_arguments().then(|| Token![move](self.body_start()));
        quote!(#keyword #capture #block)
    }

    /// Returns code that fixes the type of `?`, `return` and the last expression of an `async` block for inference.
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

    /// Returns whether only one execution of the body uses the arguments, so that the body can own them.
    ///
    /// A future that holds an argument that is `Send` but not `Sync` is then `Send`, like the future without the
    /// attribute.
    fn owns_arguments(&self) -> bool {
        let args = self.args;
        !args.repeats()
            && args.coalesce.is_none()
            && args.fallback.is_none()
            && args.failure.is_none()
            && args.map_err.is_none()
            && args.once.as_ref().is_none_or(|once| once.transaction.is_none())
    }
}
