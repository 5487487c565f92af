async fn charge(order: &Order) -> Result<Receipt, PayError> {
    #[allow(unexpected_cfgs)]
    const _: () = {
        #[cfg(rust_analyzer)]
        {
            mod __arguments {
                use ::resilient::__rt::ide::arguments::*;
                use self::{
                    circuit_breaker as _, retry as _, bulkhead as _, timeout as _,
                };
            }
            mod __retry {
                use ::resilient::__rt::ide::retry::*;
                use self::max as _;
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
                kind: ::resilient::__rt::Kind::Retry,
                name: ::core::option::Option::None,
                settings: &[
                    ::resilient::__rt::Setting {
                        field: "max",
                        value: ::resilient::__rt::Value::Count(3u64),
                    },
                ],
            },
            ::resilient::__rt::StageUse {
                kind: ::resilient::__rt::Kind::CircuitBreaker,
                name: ::core::option::Option::Some("payment"),
                settings: &[],
            },
            ::resilient::__rt::StageUse {
                kind: ::resilient::__rt::Kind::Bulkhead,
                name: ::core::option::Option::Some("gateway"),
                settings: &[],
            },
            ::resilient::__rt::StageUse {
                kind: ::resilient::__rt::Kind::Timeout,
                name: ::core::option::Option::None,
                settings: &[
                    ::resilient::__rt::Setting {
                        field: "total",
                        value: ::resilient::__rt::Value::Duration(
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
    ::resilient::__rt::submit_site!(__RESILIENT_SITE);
    let mut __call = ::resilient::__rt::Call::begin(__RESILIENT_SITE.pipeline());
    return loop {
        if !__call.enter() {
            if let ::core::result::Result::Err(__rejection) = __call.enter_later().await
            {
                break ::resilient::__rt::reject::<
                    Result<Receipt, PayError>,
                >(__rejection);
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
                let __verdict = ::resilient::__rt::judge!(& __out);
                match __call
                    .finish_with(
                        __verdict,
                        |__words| ::resilient::__rt::describe!(& __out, __words),
                    )
                {
                    ::resilient::__rt::Next::Retry => {}
                    _ => break __out,
                }
            }
            ::core::result::Result::Err(__rejection) => {
                let __refused: Result<Receipt, PayError> = {
                    let __rejection = <::resilient::__rt::Rejection as ::core::clone::Clone>::clone(
                        &__rejection,
                    );
                    ::resilient::__rt::reject::<Result<Receipt, PayError>>(__rejection)
                };
                let __verdict = ::resilient::__rt::judge!(& __refused);
                if let ::resilient::__rt::Next::Fail = __call
                    .timed_out_as(&__rejection, __verdict)
                {
                    break __refused;
                }
            }
        }
    };
}
