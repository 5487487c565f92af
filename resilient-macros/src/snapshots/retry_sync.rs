#[allow(clippy::needless_pass_by_value)]
fn f(x: Vec<u8>) -> Option<u32> {
    #[allow(unexpected_cfgs)]
    const _: () = {
        #[cfg(rust_analyzer)]
        {
            mod __arguments {
                use ::resilient_runtime::__rt::ide::arguments::*;
                use self::retry as _;
            }
            mod __retry {
                use ::resilient_runtime::__rt::ide::retry::*;
                use self::max as _;
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
                kind: ::resilient_runtime::__rt::Kind::Retry,
                name: ::core::option::Option::None,
                settings: &[
                    ::resilient_runtime::__rt::Setting {
                        field: "max",
                        value: ::resilient_runtime::__rt::Value::Count(3u64),
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
        __call.pause_blocking();
        __call.begin_attempt();
        #[allow(
            clippy::shadow_reuse,
            clippy::shadow_same,
            clippy::shadow_unrelated,
            clippy::collection_is_never_read
        )]
        let mut x = ::resilient_runtime::__rt::anew(&x);
        let __out = ::resilient_runtime::__rt::attempt_sync!(
            __call(|| -> Option < u32 > { x.pop().map(u32::from) }) Option < u32 >
        );
        ::resilient_runtime::__rt::assert_outcome(&__out);
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
    };
}
