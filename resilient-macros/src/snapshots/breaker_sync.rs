#[allow(clippy::needless_pass_by_value)]
fn f(x: &str) -> Result<u32, E> {
    #[allow(unexpected_cfgs)]
    const _: () = {
        #[cfg(rust_analyzer)]
        {
            mod __arguments {
                use ::resilient_runtime::__rt::ide::arguments::*;
                use self::circuit_breaker as _;
            }
        }
    };
    static __RESILIENT_SITE: ::resilient_runtime::__rt::Site = ::resilient_runtime::__rt::Site::new(::resilient_runtime::__rt::SiteMeta {
        function: "f",
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
                kind: ::resilient_runtime::__rt::Kind::CircuitBreaker,
                name: ::core::option::Option::Some("payment"),
                settings: &[],
            },
        ],
        levels: &[],
        keeps: false,
        retry_when: false,
        breaker_when: false,
    });
    ::resilient_runtime::__rt::submit_site!(__RESILIENT_SITE);
    let mut __call = ::resilient_runtime::__rt::Call::begin(__RESILIENT_SITE.pipeline());
    return '__attempt: {
        if let ::core::result::Result::Err(__rejection) = __call.enter_blocking() {
            ::resilient_runtime::__rt::refused!(
                __call { break '__attempt::resilient_runtime::__rt::reject:: < Result <
                u32, E > > (__rejection); } { break '__attempt { let __refused = __call
                .stopped_for_good(::resilient_runtime::__rt::Stop::Refused, __rejection,
                ::resilient_runtime::__rt::reject:: < Result < u32, E > > as fn (_) -> _,
                ::resilient_runtime::__rt::rule!(Result < u32, E >)); __refused }; }
            );
        }
        let __out = __call.attempt_sync(|| -> Result<u32, E> { Ok(x.parse()?) });
        let _ = __call
            .finish_as(
                &__out,
                ::resilient_runtime::__rt::rule!(of & __out),
                ::resilient_runtime::__rt::wording!(& __out),
            );
        __out
    };
}
