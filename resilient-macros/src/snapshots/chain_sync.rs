#[allow(clippy::needless_pass_by_value)]
fn rate(&self) -> u32 {
    #[allow(unexpected_cfgs)]
    const _: () = {
        #[cfg(rust_analyzer)]
        {
            mod __arguments {
                use ::resilient_runtime::__rt::ide::arguments::*;
                use self::{bulkhead as _, fallback as _};
            }
            mod __fallback {
                use ::resilient_runtime::__rt::ide::fallback::*;
                use self::{default as _, replica as _};
            }
        }
    };
    static __RESILIENT_SITE: ::resilient_runtime::__rt::Site = ::resilient_runtime::__rt::Site::new(::resilient_runtime::__rt::SiteMeta {
        function: "rate",
        module: ::core::module_path!(),
        file: ::core::file!(),
        line: ::core::line!(),
        inside: || ::core::any::type_name_of_val(&|| {}),
        name: ::core::option::Option::None,
        asynchronous: false,
        idempotent: false,
        own_registry: false,
        stages: &[
            ::resilient_runtime::__rt::StageUse {
                kind: ::resilient_runtime::__rt::Kind::Bulkhead,
                name: ::core::option::Option::Some("gateway"),
                settings: &[],
            },
            ::resilient_runtime::__rt::StageUse {
                kind: ::resilient_runtime::__rt::Kind::Fallback,
                name: ::core::option::Option::None,
                settings: &[],
            },
        ],
        levels: &[
            ::resilient_runtime::__rt::Level::Replica,
            ::resilient_runtime::__rt::Level::Default,
        ],
        keeps: false,
        retry_when: false,
        breaker_when: false,
    });
    ::resilient_runtime::__rt::submit_site!(__RESILIENT_SITE);
    let mut __call = ::resilient_runtime::__rt::Call::begin(__RESILIENT_SITE.pipeline());
    return match {
        '__attempt: {
            if let ::core::result::Result::Err(__rejection) = __call.enter_blocking() {
                ::resilient_runtime::__rt::refused!(
                    __call { break
                    '__attempt::core::result::Result::Err(::resilient_runtime::__rt::Failure::Rejected(__rejection));
                    } { break '__attempt { let __refused = __call
                    .stopped_for_good(::resilient_runtime::__rt::Stop::Refused,
                    __rejection, ::core::convert::identity,
                    ::resilient_runtime::__rt::Judgement::from(::resilient_runtime::__rt::Class::UNKNOWN));
                    ::core::result::Result::Err(::resilient_runtime::__rt::Failure::Rejected(__refused))
                    }; }
                );
            }
            let __out = __call.attempt_sync(|| -> u32 { self.fetch() });
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
                || ::resilient_runtime::__rt::can_be_marked!(u32)
            {
                ::core::option::Option::Some(
                    __call.may_tell(&::resilient_runtime::__rt::why!(& __failure)),
                )
            } else {
                ::core::option::Option::None
            };
            #[allow(unreachable_code)]
            '__levels: {
                {
                    let __last: ::core::result::Result<
                        u32,
                        ::resilient_runtime::__rt::NoAnswer,
                    > = match __call
                        .enter_level(::resilient_runtime::__rt::Level::Replica)
                    {
                        #[allow(unused_mut)]
                        ::core::result::Result::Ok(mut __asking) => {
                            let __scope = __asking.enter();
                            let __out: u32 = {
                                let __given = other;
                                let __how = {
                                    use ::resilient_runtime::__rt::asking::*;
                                    (&&&::resilient_runtime::__rt::Ask::<
                                        u32,
                                        _,
                                        _,
                                    >::of(&&__failure, &__given))
                                        .how()
                                };
                                __how.answer::<u32, _>(&__failure, __given)
                            };
                            __asking.leave(__scope);
                            ::core::result::Result::Ok(__out)
                        }
                        ::core::result::Result::Err(__none) => {
                            ::core::result::Result::Err(__none)
                        }
                    };
                    match __last {
                        ::core::result::Result::Ok(
                            __out,
                        ) if ::resilient_runtime::__rt::judge!(& __out)
                            == ::resilient_runtime::__rt::Verdict::Success => {
                            __call
                                .level_served(
                                    ::resilient_runtime::__rt::Level::Replica,
                                    ::core::option::Option::None,
                                    __why.as_ref(),
                                );
                            break '__levels ::resilient_runtime::__rt::mark!(
                                __out, ::resilient_runtime::__rt::Level::Replica,
                                ::core::option::Option::None, __why.as_ref()
                            );
                        }
                        __last => {
                            __call
                                .level_failed(::resilient_runtime::__rt::Level::Replica);
                            ::resilient_runtime::__rt::let_go(__last);
                        }
                    }
                }
                #[allow(unused_mut)]
                let mut __asking = __call.enter_default();
                let __scope = __asking.enter();
                let __out: u32 = ::resilient_runtime::__rt::evaluate(|| -> u32 { 0 });
                __asking.leave(__scope);
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
                ::resilient_runtime::__rt::all_failed!(
                    __failure, __out, ::resilient_runtime::__rt::Level::Default
                )
            }
        }
    };
}
