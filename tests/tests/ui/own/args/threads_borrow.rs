use std::borrow::Cow;
use std::fmt::Display;

use resilient_runtime::resilient;

#[resilient(bulkhead("x", threads = 2))]
fn f(text: &str, list: Vec<&u8>, fine: &'static str) -> Option<usize> {
    Some(text.len() + list.len() + fine.len())
}

#[resilient(bulkhead("x", threads = 2))]
fn hidden<'a>(cow: Cow<'_, str>, shown: impl Display + Send + 'a) -> Option<String> {
    Some(format!("{cow}{shown}"))
}

#[resilient(bulkhead("x", threads = 2))]
fn functions(
    boxed: Box<dyn Fn(&str) -> usize + Send>,
    higher: Box<dyn for<'a> Fn(&'a str) -> &'a str + Send>,
    pointer: fn(&str) -> usize,
) -> Option<usize> {
    Some(boxed(higher("")) + pointer(""))
}

fn main() {}
