//! Entry point: turns the two token streams of the attribute into one.

use proc_macro2::TokenStream;

use crate::args::Args;
use crate::diag::{Errors, with_original};
use crate::item::FnItem;
use crate::shape::Shape;
use crate::{expand, ide, validate};

/// Expands the attribute. Never panics, and always emits the function.
pub(crate) fn entry(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut function = match syn::parse2::<FnItem>(item.clone()) {
        Ok(function) => function,
        Err(error) => return with_original(item, &error),
    };
    let mut errors = Errors::default();
    let typed = args.clone();
    let args = Args::parse(args, &mut errors);
    let shape = Shape::of(&function, args.repeats(), &mut errors);
    validate::check(&args, &function, &shape, &mut errors);
    let completion = ide::triggers(&typed, &args.krate);
    match errors.finish() {
        Some(error) => {
            function.prepend(completion);
            with_original(function.tokens(), &error)
        }
        None => expand::expand(&args, function, &shape, &completion),
    }
}
