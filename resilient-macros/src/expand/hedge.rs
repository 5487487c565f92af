//! Attempts of which several may run at the same time.
//!
//! ```text
//! loop {                                          // only with `retry`
//!     match call.hedged(|| BODY, |out| verdict, |out, words| text, |rejection| verdict).await {
//!         Ok((out, verdict)) => match call.finish(verdict) { .. }
//!         Err(rejection) => break reject(rejection),
//!     }
//! }
//! ```

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;

use super::Writer;
use super::around::Leave;

impl Writer<'_> {
    /// `attempt` is the body as an `async` block, which makes its own copies of the arguments.
    pub(super) fn hedged(&self, attempt: &TokenStream, leave: &Leave) -> TokenStream {
        let (krate, output, mixed) = (self.krate(), self.output, Span::mixed_site());
        let judge = self.verdict(&quote_spanned!(mixed=> __out));
        let finish = self.finish_with(leave, &TokenStream::new());
        let (heard, value) = self.heard();
        let hear = if self.hears_timeouts() {
            quote_spanned!(mixed=> |__rejection: &#krate::__rt::Rejection| { #heard __verdict })
        } else {
            quote_spanned! {mixed=>
                |_: &#krate::__rt::Rejection| #krate::__rt::Judgement::from(#krate::__rt::Class::UNKNOWN)
            }
        };
        let refused = match leave {
            Leave::Block => {
                let rejected = self.rejected();
                quote_spanned!(mixed=> { let _ = __call.hedges_refused(&__rejection); #rejected })
            }
            Leave::Loop => quote_spanned! {mixed=> {
                #heard
                if let #krate::__rt::Next::Fail = __call.hedges_refused_as(&__rejection, __verdict) { break #value; }
            }},
        };
        let attempts = self.repeatable(&quote_spanned!(mixed=> || #attempt));
        quote_spanned! {mixed=>
            match __call.hedged(
                #attempts,
                |__out: &#output| { #judge __verdict },
                |__out: &#output, __words| #krate::__rt::describe!(__out, __words),
                #hear,
            ).await {
                ::core::result::Result::Ok((__out, __verdict)) => { #finish }
                ::core::result::Result::Err(__rejection) => #refused,
            }
        }
    }
}
