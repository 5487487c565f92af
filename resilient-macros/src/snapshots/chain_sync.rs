#[allow(clippy::needless_pass_by_value)]
fn rate(&self) -> u32 {
    #[allow(unexpected_cfgs)]
    const _: () = {
        #[cfg(rust_analyzer)]
        {
            mod __arguments {
                use ::resilient::__rt::ide::arguments::*;
                use self::{bulkhead as _, fallback as _};
            }
            mod __fallback {
                use ::resilient::__rt::ide::fallback::*;
                use self::{default as _, replica as _};
            }
        }
    };
    static __RESILIENT_SITE: ::resilient::__rt::Site = ::resilient::__rt::Site::new(::resilient::__rt::SiteMeta {
        function: "rate",
        module: ::core::module_path!(),
        file: ::core::file!(),
        line: ::core::line!(),
        inside: || {
            const fn __resilient_inside() {}
            ::core::any::type_name_of_val(&__resilient_inside)
        },
        name: ::core::option::Option::None,
        asynchronous: false,
        idempotent: false,
        own_registry: false,
        stages: &[
            ::resilient::__rt::StageUse {
                kind: ::resilient::__rt::Kind::Bulkhead,
                name: ::core::option::Option::Some("gateway"),
                settings: &[],
            },
            ::resilient::__rt::StageUse {
                kind: ::resilient::__rt::Kind::Fallback,
                name: ::core::option::Option::None,
                settings: &[],
            },
        ],
        levels: &[::resilient::__rt::Level::Replica, ::resilient::__rt::Level::Default],
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
            let __out = __call.attempt_sync(|| -> u32 { self.fetch() });
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
            let __why = if __call.is_watched() || ::resilient::__rt::can_be_marked!(u32)
            {
                ::core::option::Option::Some(
                    __call.may_tell(&::resilient::__rt::why!(& __failure)),
                )
            } else {
                ::core::option::Option::None
            };
            #[allow(unreachable_code)]
            '__levels: {
                {
                    let __last: ::core::result::Result<
                        u32,
                        ::resilient::__rt::NoAnswer,
                    > = match __call.enter_level(::resilient::__rt::Level::Replica) {
                        #[allow(unused_mut)]
                        ::core::result::Result::Ok(mut __asking) => {
                            let __scope = __asking.enter();
                            let __out: u32 = {
                                let __given = other;
                                let __how = {
                                    use ::resilient::__rt::asking::*;
                                    (&&&::resilient::__rt::Ask::<
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
                        ) if ::resilient::__rt::judge!(& __out)
                            == ::resilient::__rt::Verdict::Success => {
                            __call
                                .level_served(
                                    ::resilient::__rt::Level::Replica,
                                    ::core::option::Option::None,
                                    __why.as_ref(),
                                );
                            break '__levels ::resilient::__rt::mark!(
                                __out, ::resilient::__rt::Level::Replica,
                                ::core::option::Option::None, __why.as_ref()
                            );
                        }
                        __last => {
                            __call.level_failed(::resilient::__rt::Level::Replica);
                            ::resilient::__rt::let_go(__last);
                        }
                    }
                }
                #[allow(unused_mut)]
                let mut __asking = __call.enter_default();
                let __scope = __asking.enter();
                let __out: u32 = ::resilient::__rt::evaluate(|| -> u32 { 0 });
                __asking.leave(__scope);
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
                ::resilient::__rt::all_failed!(
                    __failure, __out, ::resilient::__rt::Level::Default
                )
            }
        }
    };
}
