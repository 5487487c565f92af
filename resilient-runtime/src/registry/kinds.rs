//! What can be said to a component of a kind that is known at run time only.

use crate::component::Kind;
use crate::settings::{ConfigError, Raw, SettingLayers, Settings, Value};

/// Evaluates `$body` with `$config` as the settings of `$kind`.
macro_rules! with_config {
    ($kind:expr, |$config:ident| $body:expr) => {
        with_config!($kind, |$config| $body;
            CircuitBreaker: circuit_breaker, Retry: retry, Bulkhead: bulkhead, Timeout: timeout,
            Fallback: fallback, RateLimit: rate_limit, LoadShed: load_shed, Hedge: hedge, Coalesce: coalesce,
            Idempotency: idempotency, Health: health, Alert: alert)
    };
    ($kind:expr, |$config:ident| $body:expr; $($known:ident: $module:ident),*) => {
        match $kind {
            $(Kind::$known => {
                type $config = crate::$module::Config;
                $body
            })*
            Kind::RetryBudget => {
                type $config = crate::budget::Config;
                $body
            }
            Kind::ConfigSource => {
                type $config = crate::config::SourceConfig;
                $body
            }
        }
    };
}

/// The field of this name, and the value that it takes; or what is wrong, in words.
pub(crate) fn read(kind: Kind, field: &str, raw: &Raw) -> Result<(&'static str, Value), String> {
    if let (ENABLED, Some(why)) = (field, cannot_be_off(kind)) {
        return Err(why.to_owned());
    }
    with_config!(kind, |Config| crate::settings::read::<Config>(field, raw))
}

/// The field that switches a component on and off.
pub(crate) const ENABLED: &str = "enabled";

/// Why a kind cannot be switched off.
fn cannot_be_off(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Fallback => {
            Some("a fallback cannot be switched off: without it a failed call may have nothing to return")
        }
        Kind::Idempotency => Some(
            "idempotency cannot be switched off: a repeated call would be carried out twice; `ttl = \"0s\"` keeps no answers",
        ),
        Kind::Health => Some(
            "a health check cannot be switched off: nobody would see the failure; `degrades_only = true` makes it a warning",
        ),
        Kind::ConfigSource => Some("a source of settings cannot be switched off: remove the file"),
        _ => None,
    }
}

/// Whether all that is said of a component goes together.
pub(super) fn check(kind: Kind, said: &SettingLayers) -> Result<(), ConfigError> {
    with_config!(kind, |Config| {
        let mut config = Config::default();
        for ((field, _), value) in said {
            config.set(field, value)?;
        }
        config.validate()
    })
}

/// The fields of a kind, with their documentation and what they take.
#[cfg(feature = "config-file")]
pub(crate) fn fields(kind: Kind) -> Vec<crate::settings::Field> {
    with_config!(kind, |Config| Config::described())
}
