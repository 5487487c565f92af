async fn charge(order: &Order) -> Result<Receipt, PayError> {
    #[allow(unexpected_cfgs)]
    const _: () = {
        #[cfg(rust_analyzer)]
        {
            mod __arguments {
                use ::resilient::__rt::ide::arguments::*;
                use self::{circuit_breaker as _, fallback as _};
            }
        }
    };
    static __RESILIENT_SITE: ::resilient::__rt::Site = ::resilient::__rt::Site::new(::resilient::__rt::SiteMeta {
        function: "charge",
        module: ::core::module_path!(),
        file: ::core::file!(),
        line: ::core::line!(),
        inside: || {
            const fn __resilient_inside() {}
            ::core::any::type_name_of_val(&__resilient_inside)
        },
        name: ::core::option::Option::None,
        asynchronous: true,
        idempotent: false,
        own_registry: false,
        stages: &[
            ::resilient::__rt::StageUse {
                kind: ::resilient::__rt::Kind::CircuitBreaker,
                name: ::core::option::Option::Some("payment"),
                settings: &[],
            },
            ::resilient::__rt::StageUse {
                kind: ::resilient::__rt::Kind::Fallback,
                name: ::core::option::Option::None,
                settings: &[],
            },
        ],
        levels: &[::resilient::__rt::Level::Default],
        keeps: false,
        retry_when: false,
        breaker_when: false,
    });
    ::resilient::__rt::submit_site!(__RESILIENT_SITE);
    let mut __call = ::resilient::__rt::Call::begin(__RESILIENT_SITE.pipeline());
    return match {
        '__attempt: {
            if let ::core::result::Result::Err(__rejection) = __call.enter_blocking() {
                break '__attempt ::core::result::Result::Err(
                    ::resilient::__rt::Failure::Rejected(__rejection),
                );
            }
            let __out = __call
                .attempt_untimed(async {
                    #[allow(
                        unreachable_code,
                        clippy::all,
                        clippy::pedantic,
                        clippy::nursery
                    )]
                    if false {
                        let __edge: Result<Receipt, PayError> = loop {};
                        return __edge;
                    }
                    gateway.charge(order).await
                })
                .await;
            {
                use ::resilient::__rt::settling::*;
                ::resilient::__rt::settled(
                    (&&::resilient::__rt::Settled::of(&__out)).state(),
                    &__out,
                );
            }
            let __verdict = ::resilient::__rt::judge!(& __out);
            match __call
                .finish_with(
                    __verdict,
                    |__words| ::resilient::__rt::describe!(& __out, __words),
                )
            {
                ::resilient::__rt::Next::Fail => {
                    ::core::result::Result::Err(::resilient::__rt::into_failure!(__out))
                }
                _ => ::core::result::Result::Ok(__out),
            }
        }
    } {
        ::core::result::Result::Ok(__out) => __out,
        ::core::result::Result::Err(__failure) => {
            let __why = if __call.is_watched()
                || ::resilient::__rt::can_be_marked!(Result < Receipt, PayError >)
            {
                ::core::option::Option::Some(
                    __call.may_tell(&::resilient::__rt::why!(& __failure)),
                )
            } else {
                ::core::option::Option::None
            };
            #[allow(unreachable_code)]
            '__levels: {
                #[allow(unused_mut)]
                let mut __asking = __call.enter_default();
                ::resilient::__rt::end(__failure);
                let __out: Result<Receipt, PayError> = __call
                    .ask_default(
                        __asking,
                        async {
                            #[allow(
                                unreachable_code,
                                clippy::all,
                                clippy::pedantic,
                                clippy::nursery
                            )]
                            if false {
                                let __edge: Result<Receipt, PayError> = loop {};
                                return __edge;
                            }
                            queue_for_later(order).await
                        },
                    )
                    .await;
                if ::resilient::__rt::judge!(& __out)
                    == ::resilient::__rt::Verdict::Success
                {
                    __call
                        .level_served(
                            ::resilient::__rt::Level::Default,
                            ::core::option::Option::None,
                            __why.as_ref(),
                        );
                    break '__levels ::resilient::__rt::mark!(
                        __out, ::resilient::__rt::Level::Default,
                        ::core::option::Option::None, __why.as_ref()
                    );
                }
                __call.level_failed(::resilient::__rt::Level::Default);
                __out
            }
        }
    };
}
