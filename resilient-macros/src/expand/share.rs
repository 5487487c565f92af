//! Generates coalescing: a call that can return the result of another call.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;

use super::Writer;
use crate::spans::ends;

impl Writer<'_> {
    /// Returns `attempts`, or code that runs them only if no equal call is in flight.
    pub(super) fn shared(&self, attempts: &TokenStream) -> TokenStream {
        let Some(coalesce) = &self.args.coalesce else {
            return attempts.clone();
        };
        let (krate, mixed, key) = (self.krate(), Span::mixed_site(), &coalesce.by.value);
        let (key, given) = (quote_spanned!(ends(key).0=> &(#key)), quote_spanned!(ends(key).0=> __key));
        // rustc errors about a result that cannot be shared point to the return type. All three calls have the same
        // bound and span, so the error is reported once.
        let at_output = |name| self.runtime_at_output(name);
        let ((first, last), publish) = (self.output_ends(), at_output("publish"));
        let (share, lead) = if self.shape.is_async() {
            let share = at_output("share");
            (
                quote_spanned!(last=> #share(&mut __call, #given).await),
                quote_spanned!(mixed=> #krate::__rt::led_async(__lead.as_ref(), async { #attempts }).await),
            )
        } else {
            let share = at_output("share_blocking");
            (
                quote_spanned!(last=> #share(&mut __call, #given)),
                quote_spanned!(mixed=> #krate::__rt::led(__lead.as_ref(), || #attempts)),
            )
        };
        let borrow = quote_spanned!(first=> &);
        let publish = quote_spanned!(last=> #publish(&__call, __lead, #borrow __led, __seen));
        let rejected = self.rejected();
        quote_spanned! {mixed=> {
            // A call without a key is not shared.
            let __shared = {
                use #krate::__rt::keying::*;
                match (&&#krate::__rt::KeyOf(#key)).key() {
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
                    #publish;
                    __led
                }
                ::core::result::Result::Err(__rejection) => #rejected,
            }
        }}
    }
}
