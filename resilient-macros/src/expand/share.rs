//! A call that may get the answer of another.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;

use super::Writer;
use crate::spans::ends;

impl Writer<'_> {
    /// `attempts` as they are, or only if no equal call is under way.
    pub(super) fn shared(&self, attempts: &TokenStream) -> TokenStream {
        let Some(coalesce) = &self.args.coalesce else {
            return attempts.clone();
        };
        let (krate, mixed, key) = (self.krate(), Span::mixed_site(), &coalesce.by.value);
        let key = quote_spanned!(ends(key).0=> &(#key));
        let (share, lead) = if self.shape.is_async() {
            (
                quote_spanned!(mixed=> __call.share(#key).await),
                quote_spanned!(mixed=> #krate::__rt::led_async(__lead.as_ref(), async { #attempts }).await),
            )
        } else {
            (
                quote_spanned!(mixed=> __call.share_blocking(#key)),
                quote_spanned!(mixed=> #krate::__rt::led(__lead.as_ref(), || #attempts)),
            )
        };
        let rejected = self.rejected();
        quote_spanned! {mixed=>
            match #share {
                ::core::result::Result::Ok(#krate::__rt::Shared::Answer(__answer)) => __answer,
                ::core::result::Result::Ok(#krate::__rt::Shared::Lead(__lead)) => {
                    let (__led, __seen) = #lead;
                    __call.publish(__lead, &__led, __seen);
                    __led
                }
                ::core::result::Result::Err(__rejection) => #rejected,
            }
        }
    }
}
