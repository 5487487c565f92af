//! Generates hedged attempts, which can run at the same time.
//!
//! ```text
//! loop {                                          // only with `retry`
//!     match call.hedged(|| BODY, |out| verdict, |out, words| text, |rejection| verdict).await {
//!         Ok((out, verdict)) => match call.finish_as(&out, verdict, ..) { .. }
//!         Err(rejection) => if let Some(refused) = call.stopped(NoWinner, rejection, ..) { break refused }
//!     }
//! }
//! ```

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::Type;

use super::Writer;
use super::around::Leave;

impl Writer<'_> {
    /// Returns the code for hedged attempts. `attempt` is the body as an `async` block that clones its arguments.
    pub(super) fn hedged(&self, attempt: &TokenStream, leave: &Leave) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let judge = self.verdict(&quote_spanned!(mixed=> __out));
        let finish = self.finish_with(leave, &TokenStream::new(), &quote_spanned!(mixed=> __verdict));
        let (stopped, judge_rejection) = (self.stopped("NoWinner", leave), self.judge_rejection());
        let attempts = self.repeatable(&quote_spanned!(mixed=> || #attempt));
        quote_spanned! {mixed=>
            match __call.hedged(
                #attempts,
                |__out: &#output| { #judge __verdict },
                |__out: &#output, __words| #krate::__rt::describe!(__out, __words),
                #judge_rejection,
            ).await {
                ::core::result::Result::Ok((__out, __verdict)) => { #finish }
                ::core::result::Result::Err(__rejection) => { #stopped }
            }
        }
    }

    /// Returns the closure that classifies the error to which the rejection of an attempt is converted.
    fn judge_rejection(&self) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let (reject, rule) = (self.reject(), self.rule_of_rejections());
        if matches!(self.output, Type::Infer(_)) {
            return quote_spanned!(mixed=> |_: &#krate::__rt::Rejection| #rule);
        }
        quote_spanned! {mixed=>
            |__rejection: &#krate::__rt::Rejection| {
                let __refused = (#reject)(::core::clone::Clone::clone(__rejection));
                #krate::__rt::Rule::judge(#rule, &__refused)
            }
        }
    }
}
