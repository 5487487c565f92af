//! Determines whether the error type of a generic function is `'static`, so that it can be downcast.
//!
//! Method selection in the runtime cannot depend on lifetimes, but the macro can read the bounds of the signature.

use quote::ToTokens;
use syn::{GenericArgument, GenericParam, PathArguments, Type, TypeParamBound, WherePredicate};

use super::Writer;
use crate::shape::plain;

impl Writer<'_> {
    /// Returns `E` if the return type is written as `Result<T, E>`.
    pub(super) fn error_type(&self) -> Option<&Type> {
        let Type::Path(path) = self.output else { return None };
        let PathArguments::AngleBracketed(args) = &path.path.segments.last()?.arguments else {
            return None;
        };
        match (args.args.len(), args.args.last()?) {
            (2, GenericArgument::Type(error)) => Some(error),
            _ => None,
        }
    }

    /// Returns whether the function has the bound `E: 'static`.
    pub(super) fn error_is_static(&self) -> bool {
        let generics = &self.function.sig.generics;
        let Some(error) = self.error_type() else { return false };
        if generics.params.is_empty() && generics.where_clause.is_none() {
            return false;
        }
        let error = plain(error).to_token_stream().to_string();
        let by_param = generics.params.iter().any(|param| match param {
            GenericParam::Type(param) => param.ident == error && has_static(&param.bounds),
            _ => false,
        });
        let mut predicates = generics.where_clause.iter().flat_map(|clause| &clause.predicates);
        by_param
            || predicates.any(|predicate| match predicate {
                WherePredicate::Type(it) => {
                    it.bounded_ty.to_token_stream().to_string() == error && has_static(&it.bounds)
                }
                _ => false,
            })
    }
}

fn has_static<'a>(bounds: impl IntoIterator<Item = &'a TypeParamBound>) -> bool {
    bounds.into_iter().any(|bound| match bound {
        TypeParamBound::Lifetime(lifetime) => lifetime.ident == "static",
        _ => false,
    })
}
