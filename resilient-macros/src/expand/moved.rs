//! Reports arguments that the body moves although it may run again.
//!
//! An argument that the first attempt moves is missing in the second. rustc reports this as a value moved in a loop, or
//! out of a closure of this crate, and does not mention `retry` or `clone(..)`. This module therefore finds the uses
//! that take an argument by value, and checks each with a statement that never runs:
//!
//! ```text
//! if false {
//!     #[diagnostic::on_unimplemented(message = "`payload` is moved here, and `retry` runs the body again", ..)]
//!     trait __Again {}
//!     impl __Again for Again {}
//!     const fn __again<T: __Again>(_: T) {}
//!     __again(again!(&payload));        // `Again` if it is `Copy`, otherwise `Moved`
//! }
//! ```
//!
//! Only rustc knows whether a type is `Copy`. A use that does not certainly move the value, such as `request.send()`,
//! is left to rustc (`unsure`).

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Arm, BinOp, Block, Expr, ExprArray, ExprAssign, ExprAsync, ExprAwait, ExprBinary, ExprBreak, ExprCall,
    ExprClosure, ExprForLoop, ExprIf, ExprLet, ExprMatch, ExprMethodCall, ExprPath, ExprRange, ExprRepeat,
    ExprReturn, ExprStruct, ExprTry, ExprTuple, ExprUnary, ExprWhile, FnArg, Item, Local, Macro, Member, Pat,
    PatIdent, ReceiverKind, Stmt, Token, Type, UnOp,
};

use super::Writer;
use super::params::Binding;
use super::parts::Parts;
use crate::shape::{Shape, plain, tokens};
use crate::spans::located;

impl Writer<'_> {
    /// Returns a check for each argument that the body moves and may need again.
    pub(super) fn moved(&self) -> TokenStream {
        let candidates = self.candidates();
        if !self.args.repeats() || candidates.is_empty() {
            return TokenStream::new();
        }
        let body = match self.shape {
            Shape::AsyncBlock(block) => tokens(&block.stmts),
            Shape::Sync | Shape::Async | Shape::ReturnsFuture(_) => self.function.body.clone(),
        };
        // rustc reports a body that does not parse.
        let Ok(mut body) = syn::parse2::<Block>(quote!({ #body })) else {
            return TokenStream::new();
        };
        let mut find = Find {
            candidates,
            shadows: Vec::new(),
            // A body on a thread owns everything that it mentions.
            owns: self.args.threads().is_some(),
            found: Vec::new(),
        };
        find.visit_block_mut(&mut body);
        let checks = find.found.iter().map(|moved| self.check(moved));
        quote!(#(#checks)*)
    }

    /// Returns the arguments that the body owns and that are not cloned for each attempt.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let copied = self.args.clone.as_ref().map(|clone| clone.value.as_slice()).unwrap_or_default();
        let is_kept = |ident: &Ident| {
            let is_plain = |it: &Binding| {
                it.ident == *ident && it.mutability.is_none() && !it.by_ref && it.cfgs.is_empty()
            };
            self.bound.iter().any(is_plain) && !copied.contains(ident)
        };
        let mut candidates = Vec::new();
        for argument in &self.function.sig.inputs {
            match argument {
                FnArg::Receiver(receiver) if matches!(receiver.kind, ReceiverKind::Value) => {
                    // With `clone(self)`, which `threads` needs, the body uses a renamed `self`.
                    if receiver.mutability.is_none() && !copied.iter().any(|ident| ident == "self") {
                        candidates.push(Candidate {
                            ident: Ident::from(receiver.self_token),
                            ty: None,
                            has_fields: true,
                        });
                    }
                }
                FnArg::Receiver(_) => {}
                FnArg::Typed(typed) => {
                    let Some(pat) = whole(&typed.pat) else { continue };
                    if is_kept(&pat.ident) && may_be_moved(&typed.ty) {
                        let last = last_word(&typed.ty);
                        let points =
                            ["Arc", "Rc", "Box", "Pin", "Ref", "RefMut", "MutexGuard", "Cow", "Weak"];
                        let has_fields = last.as_deref().is_some_and(|last| !points.contains(&last));
                        let ty = Some((*typed.ty).clone());
                        candidates.push(Candidate { ident: pat.ident.clone(), ty, has_fields });
                    }
                }
            }
        }
        let wholes = self.function.sig.inputs.iter().filter_map(|argument| match argument {
            FnArg::Typed(typed) => whole(&typed.pat).map(|pat| &pat.ident),
            FnArg::Receiver(_) => None,
        });
        let wholes: Vec<&Ident> = wholes.collect();
        let parts = self.bound.iter().map(|it| &it.ident).filter(|it| !wholes.contains(it) && is_kept(it));
        candidates.extend(parts.map(|ident| Candidate { ident: ident.clone(), ty: None, has_fields: false }));
        candidates
    }

    fn check(&self, moved: &Moved) -> TokenStream {
        let (krate, mixed, place) = (self.krate(), Span::mixed_site(), located(moved.span));
        let (what, name) = (&moved.what, &moved.ident);
        let policy = match (&self.args.retry, &self.args.hedge) {
            (Some(_), Some(_)) => "`retry` and `hedge` run",
            (None, Some(_)) => "`hedge` runs",
            _ => "`retry` runs",
        };
        let fault = format!("`{name}` is moved here, but {policy} the body more than once");
        let (message, note) = if name == "self" {
            (
                format!("{fault}: take `&self`"),
                "clone the parts that the body moves, as in `self.name.clone()`".to_owned(),
            )
        } else {
            (
                format!("{fault}: add `clone({name})` to the attribute"),
                format!(
                    "`clone({name})` gives each attempt its own clone; alternatively, borrow it in the body, as in `&{name}`"
                ),
            )
        };
        let label = "the next attempt needs it, too";
        let again = |place| quote_spanned!(place=> (&&#krate::__rt::Repeated::of(&#what)).again());
        let call = match &moved.parts {
            None => {
                let again = again(place);
                quote_spanned!(place=> __again(#again);)
            }
            Some(Parts { pattern, names }) => {
                let parts = names.iter().map(|name| {
                    let place = located(name.span());
                    let again = again(place);
                    quote_spanned!(place=> __again(#again.or((&&#krate::__rt::Repeated::of(#name)).again()));)
                });
                // Match by reference, so that the parts have the same types whether or not the argument is a reference.
                quote_spanned! {mixed=> match &#what {
                    #pattern => { #(#parts)* }
                    #[allow(unreachable_patterns)]
                    _ => {}
                }}
            }
        };
        quote_spanned! {mixed=>
            #[allow(clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction)]
            if false {
                use #krate::__rt::repeating::*;
                #[diagnostic::on_unimplemented(message = #message, label = #label, note = #note)]
                trait __Again {}
                impl __Again for #krate::__rt::Again {}
                const fn __again<T: __Again + ::core::marker::Copy>(_: T) {}
                #call
            }
        }
    }
}

/// An argument that might be moved.
pub(super) struct Candidate {
    pub(super) ident: Ident,
    /// `None` for `self`.
    ty: Option<Type>,
    /// Whether `argument.field` is a part of the argument, not of a value that it points to.
    has_fields: bool,
}

/// A use that moves an argument or a field of it.
struct Moved {
    ident: Ident,
    what: TokenStream,
    /// The parts, if a pattern moves only parts of it.
    parts: Option<Parts>,
    span: Span,
}

/// Returns whether a type may be moved. References are `Copy` or are reborrowed.
fn may_be_moved(ty: &Type) -> bool {
    const COPY: [&str; 17] = [
        "bool", "char", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128",
        "isize", "f32", "f64", "Duration",
    ];
    match plain(ty) {
        Type::Reference(_) | Type::Ptr(_) | Type::FnPtr(_) | Type::Never(_) => false,
        Type::Path(path) => {
            path.path.segments.last().is_some_and(|last| !COPY.iter().any(|it| last.ident == it))
        }
        _ => true,
    }
}

fn last_word(ty: &Type) -> Option<String> {
    match plain(ty) {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
        _ => None,
    }
}

/// Returns the name of an argument whose pattern is a plain name.
fn whole(pat: &Pat) -> Option<&PatIdent> {
    match pat {
        Pat::Ident(pat) if pat.subpat.is_none() => Some(pat),
        _ => None,
    }
}

/// Returns whether a method takes `self` by value, according to the method names of the standard library.
fn takes_self(ty: Option<&Type>, method: &Ident) -> bool {
    const OWNERS: [&str; 13] = [
        "String",
        "Vec",
        "VecDeque",
        "HashMap",
        "HashSet",
        "BTreeMap",
        "BTreeSet",
        "BinaryHeap",
        "PathBuf",
        "OsString",
        "CString",
        "Option",
        "Result",
    ];
    const OF_OPTIONS: [&str; 13] = [
        "unwrap",
        "expect",
        "unwrap_or",
        "unwrap_or_default",
        "unwrap_or_else",
        "map",
        "map_err",
        "map_or",
        "and_then",
        "ok_or",
        "ok_or_else",
        "ok",
        "or_else",
    ];
    let Some(ty) = ty else { return false };
    let method = method.to_string();
    if let Type::ImplTrait(_) = plain(ty) {
        return method == "into" || method == "into_iter";
    }
    let Some(last) = last_word(ty) else { return false };
    let is_optional = last == "Option" || last == "Result";
    OWNERS.contains(&last.as_str()) && method.starts_with("into_")
        || is_optional && OF_OPTIONS.contains(&method.as_str())
}

struct Find {
    candidates: Vec<Candidate>,
    /// Names that are shadowed at the current position.
    shadows: Vec<Ident>,
    /// Whether mentioned names are moved into a closure or block.
    owns: bool,
    found: Vec<Moved>,
}

impl Find {
    fn candidate(&self, path: &ExprPath) -> Option<&Candidate> {
        let ident = path.path.get_ident().filter(|_| path.qself.is_none() && path.attrs.is_empty())?;
        self.candidates.iter().find(|it| it.ident == *ident).filter(|_| !self.shadows.contains(ident))
    }

    /// Returns the argument if `expr` is an argument or a field of one.
    fn place<'e>(&self, expr: &'e Expr) -> Option<(&'e Ident, &Candidate)> {
        let (mut base, mut has_field) = (expr, false);
        loop {
            base = match base {
                Expr::Paren(paren) => &paren.expr,
                Expr::Group(group) => &group.expr,
                Expr::Field(field) => {
                    has_field = true;
                    &field.base
                }
                _ => break,
            };
        }
        let Expr::Path(path) = base else { return None };
        let candidate = self.candidate(path)?;
        (!has_field || candidate.has_fields).then_some((path.path.get_ident()?, candidate))
    }

    /// Handles `expr` in a position where its value is moved.
    fn takes(&mut self, expr: &Expr) {
        let Some((ident, _)) = self.place(expr) else { return };
        self.report(ident.clone(), expr.to_token_stream());
    }

    /// Handles `expr` that is matched against a pattern, which moves what it binds.
    fn unpacks(&mut self, expr: &Expr, pat: &Pat) {
        if is_name(pat) {
            return self.takes(expr);
        }
        let (Some((ident, _)), Some(parts)) = (self.place(expr), Parts::of(pat)) else { return };
        let is_known = self.found.iter().any(|moved| moved.ident == *ident && moved.parts.is_none());
        if let (false, Some(first)) = (is_known, parts.names.first()) {
            let (ident, what, span) = (ident.clone(), expr.to_token_stream(), first.span());
            self.found.push(Moved { ident, what, parts: Some(parts), span });
        }
    }

    fn report(&mut self, ident: Ident, what: TokenStream) {
        if !self.found.iter().any(|moved| moved.ident == ident) {
            let span = ident.span();
            self.found.push(Moved { ident, what, parts: None, span });
        }
    }

    fn within(&mut self, search: impl FnOnce(&mut Self)) {
        let depth = self.shadows.len();
        search(self);
        self.shadows.truncate(depth);
    }

    fn binds(&mut self, pat: &Pat) {
        struct Names<'a>(&'a mut Vec<Ident>);
        impl VisitMut for Names<'_> {
            fn visit_pat_ident_mut(&mut self, pat: &mut PatIdent) {
                self.0.push(pat.ident.clone());
                visit_mut::visit_pat_ident_mut(self, pat);
            }
        }
        Names(&mut self.shadows).visit_pat_mut(&mut pat.clone());
    }
}

/// Returns whether the tokens start with `#[cfg(..)]`, so that they may be removed.
fn is_conditional(tokens: TokenStream) -> bool {
    let mut tokens = tokens.into_iter();
    while let Some(TokenTree::Punct(punct)) = tokens.next()
        && punct.as_char() == '#'
        && let Some(TokenTree::Group(group)) = tokens.next()
    {
        if matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(ident)) if ident == "cfg" || ident == "cfg_attr")
        {
            return true;
        }
    }
    false
}

/// Returns whether the pattern binds the whole value.
fn is_name(pat: &Pat) -> bool {
    match pat {
        Pat::Ident(pat) => {
            let is_constant = pat.ident.to_string().starts_with(char::is_uppercase);
            pat.by_ref.is_none() && pat.subpat.is_none() && !is_constant
        }
        Pat::Type(pat) => is_name(&pat.pat),
        _ => false,
    }
}

impl VisitMut for Find {
    fn visit_block_mut(&mut self, block: &mut Block) {
        self.within(|this| visit_mut::visit_block_mut(this, block));
    }

    fn visit_stmt_mut(&mut self, stmt: &mut Stmt) {
        if is_conditional(stmt.to_token_stream()) {
            return;
        }
        if let Stmt::Expr(expr, _) = stmt {
            self.takes(expr);
        }
        visit_mut::visit_stmt_mut(self, stmt);
    }

    fn visit_local_mut(&mut self, local: &mut Local) {
        if let Some(init) = &mut local.init {
            self.unpacks(&init.expr, &local.pat);
            self.visit_expr_mut(&mut init.expr);
            if let Some((_, diverge)) = &mut init.diverge {
                self.visit_expr_mut(diverge);
            }
        }
        self.binds(&local.pat);
    }

    fn visit_expr_call_mut(&mut self, call: &mut ExprCall) {
        call.args.iter().for_each(|arg| self.takes(arg));
        visit_mut::visit_expr_call_mut(self, call);
    }

    fn visit_expr_method_call_mut(&mut self, call: &mut ExprMethodCall) {
        call.args.iter().for_each(|arg| self.takes(arg));
        if let Expr::Path(path) = &*call.receiver
            && self.candidate(path).is_some_and(|it| takes_self(it.ty.as_ref(), &call.method))
        {
            self.takes(&call.receiver);
        }
        visit_mut::visit_expr_method_call_mut(self, call);
    }

    fn visit_expr_struct_mut(&mut self, expr: &mut ExprStruct) {
        let taken = expr.fields.iter().filter(|field| field.attrs.is_empty());
        taken.for_each(|field| self.takes(&field.expr));
        visit_mut::visit_expr_struct_mut(self, expr);
    }

    fn visit_expr_array_mut(&mut self, expr: &mut ExprArray) {
        expr.elems.iter().for_each(|elem| self.takes(elem));
        visit_mut::visit_expr_array_mut(self, expr);
    }

    fn visit_expr_tuple_mut(&mut self, expr: &mut ExprTuple) {
        expr.elems.iter().for_each(|elem| self.takes(elem));
        visit_mut::visit_expr_tuple_mut(self, expr);
    }

    fn visit_expr_repeat_mut(&mut self, expr: &mut ExprRepeat) {
        self.takes(&expr.expr);
        visit_mut::visit_expr_repeat_mut(self, expr);
    }

    fn visit_expr_return_mut(&mut self, expr: &mut ExprReturn) {
        if let Some(value) = &expr.expr {
            self.takes(value);
        }
        visit_mut::visit_expr_return_mut(self, expr);
    }

    fn visit_expr_break_mut(&mut self, expr: &mut ExprBreak) {
        if let Some(value) = &expr.expr {
            self.takes(value);
        }
        visit_mut::visit_expr_break_mut(self, expr);
    }

    fn visit_expr_try_mut(&mut self, expr: &mut ExprTry) {
        self.takes(&expr.expr);
        visit_mut::visit_expr_try_mut(self, expr);
    }

    fn visit_expr_await_mut(&mut self, expr: &mut ExprAwait) {
        self.takes(&expr.base);
        visit_mut::visit_expr_await_mut(self, expr);
    }

    fn visit_expr_assign_mut(&mut self, expr: &mut ExprAssign) {
        self.takes(&expr.right);
        visit_mut::visit_expr_assign_mut(self, expr);
    }

    // Comparisons borrow both sides.
    fn visit_expr_binary_mut(&mut self, expr: &mut ExprBinary) {
        use BinOp::{Add, BitAnd, BitOr, BitXor, Div, Mul, Rem, Shl, Shr, Sub};
        let takes_both = matches!(
            expr.op,
            Add(_) | Sub(_) | Mul(_) | Div(_) | Rem(_) | BitXor(_) | BitAnd(_) | BitOr(_) | Shl(_) | Shr(_)
        );
        let takes_right = matches!(
            expr.op,
            BinOp::AddAssign(_)
                | BinOp::SubAssign(_)
                | BinOp::MulAssign(_)
                | BinOp::DivAssign(_)
                | BinOp::RemAssign(_)
                | BinOp::BitXorAssign(_)
                | BinOp::BitAndAssign(_)
                | BinOp::BitOrAssign(_)
        );
        if takes_both {
            self.takes(&expr.left);
        }
        if takes_both || takes_right {
            self.takes(&expr.right);
        }
        visit_mut::visit_expr_binary_mut(self, expr);
    }

    fn visit_expr_unary_mut(&mut self, expr: &mut ExprUnary) {
        if !matches!(expr.op, UnOp::Deref(_)) {
            self.takes(&expr.expr);
        }
        visit_mut::visit_expr_unary_mut(self, expr);
    }

    fn visit_expr_range_mut(&mut self, expr: &mut ExprRange) {
        expr.start.iter().chain(&expr.end).for_each(|end| self.takes(end));
        visit_mut::visit_expr_range_mut(self, expr);
    }

    fn visit_expr_for_loop_mut(&mut self, expr: &mut ExprForLoop) {
        self.takes(&expr.expr);
        self.visit_expr_mut(&mut expr.expr);
        self.within(|this| {
            this.binds(&expr.pat);
            this.visit_block_mut(&mut expr.body);
        });
    }

    fn visit_expr_if_mut(&mut self, expr: &mut ExprIf) {
        self.within(|this| {
            this.visit_expr_mut(&mut expr.cond);
            this.visit_block_mut(&mut expr.then_branch);
        });
        if let Some((_, otherwise)) = &mut expr.else_branch {
            self.visit_expr_mut(otherwise);
        }
    }

    fn visit_expr_while_mut(&mut self, expr: &mut ExprWhile) {
        self.within(|this| visit_mut::visit_expr_while_mut(this, expr));
    }

    fn visit_expr_match_mut(&mut self, expr: &mut ExprMatch) {
        for arm in expr.arms.iter().filter(|arm| !is_conditional(arm.to_token_stream())) {
            self.unpacks(&expr.expr, &arm.pat);
        }
        visit_mut::visit_expr_match_mut(self, expr);
    }

    fn visit_expr_let_mut(&mut self, expr: &mut ExprLet) {
        self.unpacks(&expr.expr, &expr.pat);
        self.visit_expr_mut(&mut expr.expr);
        self.binds(&expr.pat);
    }

    fn visit_arm_mut(&mut self, arm: &mut Arm) {
        if is_conditional(arm.to_token_stream()) {
            return;
        }
        self.within(|this| {
            this.binds(&arm.pat);
            this.takes(&arm.body);
            visit_mut::visit_arm_mut(this, arm);
        });
    }

    fn visit_expr_closure_mut(&mut self, closure: &mut ExprClosure) {
        let owns = self.owns;
        self.within(|this| {
            this.owns |= closure.capture.is_some();
            closure.inputs.iter().for_each(|pat| this.binds(pat));
            this.takes(&closure.body);
            visit_mut::visit_expr_closure_mut(this, closure);
        });
        self.owns = owns;
    }

    fn visit_expr_async_mut(&mut self, expr: &mut ExprAsync) {
        let owns = self.owns;
        self.owns |= expr.capture.is_some();
        visit_mut::visit_expr_async_mut(self, expr);
        self.owns = owns;
    }

    fn visit_expr_field_mut(&mut self, field: &mut syn::ExprField) {
        // A block that owns what it mentions moves only the field.
        if let (Expr::Path(path), Member::Named(_) | Member::Unnamed(_)) = (&*field.base, &field.member)
            && self.candidate(path).is_some()
        {
            return;
        }
        visit_mut::visit_expr_field_mut(self, field);
    }

    fn visit_expr_path_mut(&mut self, path: &mut ExprPath) {
        if self.owns
            && let Some(ident) = path.path.get_ident().filter(|_| self.candidate(path).is_some())
        {
            self.report(ident.clone(), path.to_token_stream());
        }
    }

    // The expansion of a macro is unknown, except for these macros of the standard library that take values.
    fn visit_macro_mut(&mut self, mac: &mut Macro) {
        if !["vec", "dbg"].iter().any(|name| mac.path.is_ident(name)) {
            return;
        }
        let list = Punctuated::<Expr, Token![,]>::parse_terminated;
        for mut element in list.parse2(mac.tokens.clone()).unwrap_or_default() {
            self.takes(&element);
            self.visit_expr_mut(&mut element);
        }
    }

    // Nested items cannot use arguments.
    fn visit_item_mut(&mut self, _: &mut Item) {}
}
