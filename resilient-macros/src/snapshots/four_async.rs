async fn charge(order: &Order) -> Result<Receipt, PayError> {
    #[allow(unexpected_cfgs)]
    const _: () = {
        #[cfg(rust_analyzer)]
        {
            mod __arguments {
                use ::resilient_runtime::__rt::ide::arguments::*;
                use self::{
                    circuit_breaker as _, retry as _, bulkhead as _, timeout as _,
                };
            }
            mod __retry {
                use ::resilient_runtime::__rt::ide::retry::*;
                use self::max as _;
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
                kind: ::resilient_runtime::__rt::Kind::Retry,
                name: ::core::option::Option::None,
                settings: &[
                    ::resilient_runtime::__rt::Setting {
                        field: "max",
                        value: ::resilient_runtime::__rt::Value::Count(3u64),
                    },
                ],
            },
            ::resilient_runtime::__rt::StageUse {
                kind: ::resilient_runtime::__rt::Kind::CircuitBreaker,
                name: ::core::option::Option::Some("payment"),
                settings: &[],
            },
            ::resilient_runtime::__rt::StageUse {
                kind: ::resilient_runtime::__rt::Kind::Bulkhead,
                name: ::core::option::Option::Some("gateway"),
                settings: &[],
            },
            ::resilient_runtime::__rt::StageUse {
                kind: ::resilient_runtime::__rt::Kind::Timeout,
                name: ::core::option::Option::None,
                settings: &[
                    ::resilient_runtime::__rt::Setting {
                        field: "total",
                        value: ::resilient_runtime::__rt::Value::Duration(
                            ::core::time::Duration::from_nanos(2000000000u64),
                        ),
                    },
                ],
            },
        ],
        levels: &[],
        keeps: false,
        retry_when: false,
        breaker_when: false,
    });
    ::resilient_runtime::__rt::submit_site!(__RESILIENT_SITE);
    let mut __call = ::resilient_runtime::__rt::Call::begin(__RESILIENT_SITE.pipeline());
    return loop {
        if !__call.enter() {
            if let ::core::result::Result::Err(__rejection) = __call.admitted().await {
                ::resilient_runtime::__rt::refused!(
                    __call { break ::resilient_runtime::__rt::reject:: < Result <
                    Receipt, PayError > > (__rejection); } { if let
                    ::core::option::Option::Some(__refused) = __call
                    .stopped(::resilient_runtime::__rt::Stop::Refused, __rejection,
                    ::resilient_runtime::__rt::reject:: < Result < Receipt, PayError > >
                    as fn (_) -> _, ::resilient_runtime::__rt::rule!(Result < Receipt,
                    PayError >)) { break __refused; } continue; }
                );
            }
        }
        match __call
            .attempt(async {
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
            .await
        {
            ::core::result::Result::Ok(__out) => {
                match __call
                    .finish_as(
                        &__out,
                        ::resilient_runtime::__rt::rule!(of & __out),
                        ::resilient_runtime::__rt::wording!(& __out),
                    )
                {
                    ::resilient_runtime::__rt::Next::Retry => {}
                    _ => break __out,
                }
            }
            ::core::result::Result::Err(__rejection) => {
                if let ::core::option::Option::Some(__refused) = __call
                    .stopped(
                        ::resilient_runtime::__rt::Stop::CutOff,
                        __rejection,
                        ::resilient_runtime::__rt::reject::<Result<Receipt, PayError>>
                            as fn(_) -> _,
                        ::resilient_runtime::__rt::rule!(Result < Receipt, PayError >),
                    )
                {
                    break __refused;
                }
            }
        }
    };
}
