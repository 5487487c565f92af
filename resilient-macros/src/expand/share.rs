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
        let (borrow, given) = (quote_spanned!(ends(key).0=> &(#key)), quote_spanned!(ends(key).0=> __key));
        // A value that is not given to several callers is blamed itself.
        let shareable = self.runtime_at_output("shareable");
        let output = self.output;
        let (share, lead) = if self.shape.is_async() {
            (
                quote_spanned!(mixed=> __call.share(#given).await),
                quote_spanned!(mixed=> #krate::__rt::led_async(__lead.as_ref(), async { #attempts }).await),
            )
        } else {
            (
                quote_spanned!(mixed=> __call.share_blocking(#given)),
                quote_spanned!(mixed=> #krate::__rt::led(__lead.as_ref(), || #attempts)),
            )
        };
        let rejected = self.rejected();
        quote_spanned! {mixed=> {
            #shareable::<#output>();
            // Without a key the call is made alone.
            let __shared = {
                use #krate::__rt::keying::*;
                match (&&#krate::__rt::KeyOf(#borrow)).key() {
                    ::core::option::Option::Some(__key) => #share,
                    ::core::option::Option::None => {
                        ::core::result::Result::Ok(#krate::__rt::Shared::Lead(::core::option::Option::None))
                    }
                }
            };
            match __shared {
                ::core::result::Result::Ok(#krate::__rt::Shared::Answer(__answer)) => __answer,
                ::core::result::Result::Ok(#krate::__rt::Shared::Lead(__lead)) => {
                    let (__led, __seen) = #lead;
                    __call.publish(__lead, &__led, __seen);
                    __led
                }
                ::core::result::Result::Err(__rejection) => #rejected,
            }
        }}
    }
}
