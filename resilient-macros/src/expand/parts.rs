//! A pattern that takes an argument apart.

use proc_macro2::Ident;
use syn::Pat;
use syn::visit_mut::{self, VisitMut};

/// What a pattern takes by value.
pub(super) struct Parts {
    /// The pattern, in a form that fits a reference as well.
    pub(super) pattern: Pat,
    pub(super) names: Vec<Ident>,
}

impl Parts {
    /// `None` where the pattern takes nothing, or borrows as well.
    pub(super) fn of(pat: &Pat) -> Option<Self> {
        let mut parts = Self { pattern: pat.clone(), names: Vec::new() };
        let mut is_plain = true;
        Plain { names: &mut parts.names, is_plain: &mut is_plain }.visit_pat_mut(&mut parts.pattern);
        (is_plain && !parts.names.is_empty()).then_some(parts)
    }
}

/// Makes a pattern fit for a reference, where it can be.
struct Plain<'a> {
    names: &'a mut Vec<Ident>,
    is_plain: &'a mut bool,
}

impl VisitMut for Plain<'_> {
    fn visit_pat_mut(&mut self, pat: &mut Pat) {
        match pat {
            // A name in upper case is a constant or a variant.
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
