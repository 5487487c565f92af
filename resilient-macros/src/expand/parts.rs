//! Patterns that destructure an argument.

use proc_macro2::Ident;
use syn::Pat;
use syn::visit_mut::{self, VisitMut};

/// The bindings that a pattern takes by value.
pub(super) struct Parts {
    /// The pattern, in a form that also matches a reference.
    pub(super) pattern: Pat,
    pub(super) names: Vec<Ident>,
}

impl Parts {
    /// Returns `None` if the pattern binds nothing by value, or also borrows.
    pub(super) fn of(pat: &Pat) -> Option<Self> {
        let mut parts = Self { pattern: pat.clone(), names: Vec::new() };
        let mut is_plain = true;
        Plain { names: &mut parts.names, is_plain: &mut is_plain }.visit_pat_mut(&mut parts.pattern);
        (is_plain && !parts.names.is_empty()).then_some(parts)
    }
}

/// Changes a pattern so that it also matches a reference, if possible.
struct Plain<'a> {
    names: &'a mut Vec<Ident>,
    is_plain: &'a mut bool,
}

impl VisitMut for Plain<'_> {
    fn visit_pat_mut(&mut self, pat: &mut Pat) {
        match pat {
            // An uppercase name is a constant or a variant.
            Pat::Ident(pat) if pat.ident.to_string().starts_with(char::is_uppercase) => {}
            Pat::Ident(pat) => {
                *self.is_plain &=
                    pat.by_ref.is_none() && pat.subpat.is_none() && !self.names.contains(&pat.ident);
                pat.mutability = None;
                self.names.push(pat.ident.clone());
            }
            Pat::Struct(_) | Pat::Tuple(_) | Pat::TupleStruct(_) | Pat::Paren(_) => {
                visit_mut::visit_pat_mut(self, pat);
            }
            Pat::Lit(_) | Pat::Path(_) | Pat::Range(_) | Pat::Rest(_) | Pat::Wild(_) => {}
            _ => *self.is_plain = false,
        }
    }
}
