//! Generates the static that describes the use of the attribute.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::LitStr;

use super::Writer;
use crate::args::{Policy, Setting, Value};

impl Writer<'_> {
    pub(super) fn site(&self) -> TokenStream {
        let (args, krate, mixed) = (self.args, self.krate(), Span::mixed_site());
        let function = self.function.sig.ident.to_string();
        let function = function.strip_prefix("r#").unwrap_or(&function);
        let name = option(args.name.as_ref());
        let asynchronous = self.shape.is_async();
        let idempotent = args.idempotent.is_some();
        let own_registry = args.registry.is_some();
        let stages = [
            args.retry.as_ref().map(|retry| self.stage("Retry", &retry.policy)),
            args.circuit_breaker.as_ref().map(|policy| self.stage("CircuitBreaker", policy)),
            args.bulkhead.as_ref().map(|policy| self.stage("Bulkhead", policy)),
            args.timeout.as_ref().map(|policy| self.stage("Timeout", policy)),
            args.rate_limit.as_ref().map(|limit| self.stage("RateLimit", &limit.policy)),
            args.hedge.as_ref().map(|policy| self.stage("Hedge", policy)),
            args.load_shed.as_ref().map(|shed| self.stage("LoadShed", &shed.policy)),
            args.once.as_ref().map(|once| self.stage("Idempotency", &once.policy)),
            args.coalesce.as_ref().map(|coalesce| self.stage("Coalesce", &coalesce.policy)),
            args.fallback.as_ref().map(|fallback| self.stage_of("Fallback", None, &fallback.settings)),
        ];
        let stages = stages.into_iter().flatten();
        let levels =
            args.fallback.iter().flat_map(|fallback| &fallback.levels).map(|level| self.level(level.variant));
        let retry_when = args.retry.as_ref().is_some_and(|retry| retry.when.is_some());
        let breaker_when = args.counts.is_some();
        let keeps = args.fallback.as_ref().is_some_and(|fallback| fallback.local_cache().is_some());
        let chaos = self.chaos();
        quote_spanned! {mixed=>
            static __RESILIENT_SITE: #krate::__rt::Site = #krate::__rt::Site::new(#krate::__rt::SiteMeta {
                function: #function,
                module: ::core::module_path!(),
                file: ::core::file!(),
                line: ::core::line!(),
                // Distinguishes two methods that a macro generates in the same line.
                inside: || ::core::any::type_name_of_val(&|| {}),
                name: #name,
                asynchronous: #asynchronous,
                idempotent: #idempotent,
                own_registry: #own_registry,
                stages: &[#(#stages,)*],
                levels: &[#(#levels,)*],
                keeps: #keeps,
                retry_when: #retry_when,
                breaker_when: #breaker_when,
            })#chaos;
            #krate::__rt::submit_site!(__RESILIENT_SITE);
        }
    }

    /// Returns the call that sets whether faults affect the function, if the attribute says it.
    fn chaos(&self) -> Option<TokenStream> {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let membership = match (&self.args.chaos.group, self.args.chaos.is_off) {
            (Some(group), _) => quote_spanned!(mixed=> Group(#group)),
            (None, true) => quote_spanned!(mixed=> Exempt),
            (None, false) => return None,
        };
        Some(quote_spanned!(mixed=> .chaos(#krate::__rt::Membership::#membership)))
    }

    /// Returns `Level::VARIANT`.
    pub(super) fn level(&self, variant: &str) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let variant = proc_macro2::Ident::new(variant, mixed);
        quote_spanned!(mixed=> #krate::__rt::Level::#variant)
    }

    fn stage(&self, kind: &str, policy: &Policy) -> TokenStream {
        self.stage_of(kind, policy.name.as_ref(), &policy.settings)
    }

    fn stage_of(&self, kind: &str, name: Option<&LitStr>, settings: &[Setting]) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        let kind = proc_macro2::Ident::new(kind, mixed);
        let name = option(name);
        let settings = settings.iter().map(|Setting { field, value, .. }| {
            let value = self.value(value);
            quote_spanned!(mixed=> #krate::__rt::Setting { field: #field, value: #value })
        });
        quote_spanned! {mixed=>
            #krate::__rt::StageUse { kind: #krate::__rt::Kind::#kind, name: #name, settings: &[#(#settings,)*] }
        }
    }

    fn value(&self, value: &Value) -> TokenStream {
        let (krate, mixed) = (self.krate(), Span::mixed_site());
        match value {
            Value::Duration(nanos) => quote_spanned! {mixed=>
                #krate::__rt::Value::Duration(::core::time::Duration::from_nanos(#nanos))
            },
            Value::Count(count) => quote_spanned!(mixed=> #krate::__rt::Value::Count(#count)),
            Value::Ratio(share) => {
                let share = Literal::f64_suffixed(*share);
                quote_spanned!(mixed=> #krate::__rt::Value::Ratio(#share))
            }
            Value::Number(number) => {
                let number = Literal::f64_suffixed(*number);
                quote_spanned!(mixed=> #krate::__rt::Value::Number(#number))
            }
            Value::Unset => quote_spanned!(mixed=> #krate::__rt::Value::Unset),
            Value::Flag(flag) => quote_spanned!(mixed=> #krate::__rt::Value::Flag(#flag)),
            // Only constructors: rustc assumes that the result of a function call needs a destructor, which a static
            // cannot run.
            Value::Text(text) => quote_spanned! {mixed=>
                #krate::__rt::Value::Text(#krate::__rt::Cow::Borrowed(#text))
            },
        }
    }
}

fn option(name: Option<&LitStr>) -> TokenStream {
    match name {
        Some(name) => quote!(::core::option::Option::Some(#name)),
        None => quote!(::core::option::Option::None),
    }
}
