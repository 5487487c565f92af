async fn charge(order: &Order) -> Result<Receipt, PayError> {
    #[allow(unexpected_cfgs)]
    const _: () = {
        #[cfg(rust_analyzer)]
        {
            mod __arguments {
                use ::resilient_runtime::__rt::ide::arguments::*;
                use self::{circuit_breaker as _, fallback as _};
            }
        }
    };
    static __RESILIENT_SITE: ::resilient_runtime::__rt::Site = ::resilient_runtime::__rt::Site::new(::resilient_runtime::__rt::SiteMeta {
        function: "charge",
        module: ::core::module_path!(),
        file: ::core::file!(),
        line: ::core::line!(),
        inside: || ::core::any::type_name_of_val(&|| {}),
        name: ::core::option::Option::None,
        asynchronous: true,
        idempotent: false,
        own_registry: false,
        stages: &[
            ::resilient_runtime::__rt::StageUse {
                kind: ::resilient_runtime::__rt::Kind::CircuitBreaker,
                name: ::core::option::Option::Some("payment"),
                settings: &[],
            },
            ::resilient_runtime::__rt::StageUse {
                kind: ::resilient_runtime::__rt::Kind::Fallback,
                name: ::core::option::Option::None,
                settings: &[],
            },
        ],
        levels: &[::resilient_runtime::__rt::Level::Default],
        keeps: false,
        retry_when: false,
        breaker_when: false,
    });
    ::resilient_runtime::__rt::submit_site!(__RESILIENT_SITE);
    let mut __call = ::resilient_runtime::__rt::Call::begin(__RESILIENT_SITE.pipeline());
    return match {
        '__attempt: {
            ::resilient_runtime::__rt::admit_at_once!(
                __call __rejection { ::resilient_runtime::__rt::refused!(__call { break
                '__attempt::core::result::Result::Err(::resilient_runtime::__rt::Failure::Rejected(__rejection));
                } { break '__attempt { let __refused = __call
                .stopped_for_good(::resilient_runtime::__rt::Stop::Refused, __rejection,
                ::core::convert::identity, | __rejection : &
                ::resilient_runtime::__rt::Rejection | match
                ::resilient_runtime::__rt::rejected!(Result < Receipt, PayError >,
                __rejection) { ::core::option::Option::Some(__refused) => { let __refused
                = & __refused; let __verdict =
                ::resilient_runtime::__rt::judge!(__refused); __verdict }
                ::core::option::Option::None =>
                ::resilient_runtime::__rt::Judgement::from(::resilient_runtime::__rt::Class::UNKNOWN),
                });
                ::core::result::Result::Err(::resilient_runtime::__rt::Failure::Rejected(__refused))
                }; }); }
            );
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
                use ::resilient_runtime::__rt::settling::*;
                ::resilient_runtime::__rt::settled(
                    (&&::resilient_runtime::__rt::Settled::of(&__out)).state(),
                    &__out,
                );
            }
            match __call
                .finish_as(
                    &__out,
                    ::resilient_runtime::__rt::rule!(of & __out),
                    ::resilient_runtime::__rt::wording!(& __out),
                )
            {
                ::resilient_runtime::__rt::Next::Fail => {
                    ::core::result::Result::Err(
                        ::resilient_runtime::__rt::into_failure!(__out),
                    )
                }
                _ => ::core::result::Result::Ok(__out),
            }
        }
    } {
        ::core::result::Result::Ok(__out) => __out,
        ::core::result::Result::Err(__failure) => {
            let __why = if __call.is_watched()
                || ::resilient_runtime::__rt::can_be_marked!(
                    Result < Receipt, PayError >
                )
            {
                ::core::option::Option::Some(
                    __call.may_tell(&::resilient_runtime::__rt::why!(& __failure)),
                )
            } else {
                ::core::option::Option::None
            };
            #[allow(unreachable_code)]
            '__levels: {
                #[allow(unused_mut)]
                let mut __asking = __call.enter_default();
                ::resilient_runtime::__rt::end(__failure);
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
                if ::resilient_runtime::__rt::judge!(& __out)
                    == ::resilient_runtime::__rt::Verdict::Success
                {
                    __call
                        .level_served(
                            ::resilient_runtime::__rt::Level::Default,
                            ::core::option::Option::None,
                            __why.as_ref(),
                        );
                    break '__levels ::resilient_runtime::__rt::mark!(
                        __out, ::resilient_runtime::__rt::Level::Default,
                        ::core::option::Option::None, __why.as_ref()
                    );
                }
                __call.level_failed(::resilient_runtime::__rt::Level::Default);
                __out
            }
        }
    };
}
