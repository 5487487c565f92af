//! Operations on components whose kind is known only at run time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::erased::AnyComponent;
use super::{ComponentStats, Registry};
use crate::component::Kind;
use crate::name;
use crate::nearest::ranked;
use crate::observe::EventKind;
use crate::settings::Effective;

/// The error returned if there is no component with this kind and name.
///
/// ```
/// use resilient_runtime::{Kind, Registry};
///
/// let error = Registry::new().component_stats(Kind::Bulkhead, "gateway").unwrap_err();
/// assert_eq!(error.to_string(), "there is no bulkhead `gateway`");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownComponent {
    kind: Kind,
    name: String,
    nearest: Vec<String>,
}

impl UnknownComponent {
    /// Returns similar names that exist, most similar first.
    ///
    /// ```
    /// use resilient_runtime::{Kind, Registry};
    ///
    /// let registry = Registry::new();
    /// registry.hedge("search");
    /// assert_eq!(registry.reset(Kind::Hedge, "serach").unwrap_err().nearest(), ["search"]);
    /// ```
    pub fn nearest(&self) -> &[String] {
        &self.nearest
    }
}

impl fmt::Display for UnknownComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Truncate the name: it can be untrusted input.
        let name: String = self.name.chars().take(128).collect();
        write!(f, "there is no {} `{name}`", self.kind)?;
        if !self.nearest.is_empty() {
            write!(f, "; did you mean `{}`?", self.nearest.join("` or `"))?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownComponent {}

impl Registry {
    /// Returns a snapshot of a component.
    ///
    /// ```
    /// use resilient_runtime::{Kind, Registry, registry::ComponentStats};
    ///
    /// let registry = Registry::new();
    /// registry.timeout("gateway");
    /// let stats = registry.component_stats(Kind::Timeout, "gateway");
    /// assert!(matches!(stats, Ok(ComponentStats::Timeout(stats)) if stats.total_timeouts == 0));
    /// let error = registry.component_stats(Kind::Timeout, "gatewya").unwrap_err();
    /// assert_eq!(error.nearest(), ["gateway"]);
    /// ```
    ///
    /// # Errors
    /// Returns an error with similar names if there is no such component.
    pub fn component_stats(&self, kind: Kind, name: &str) -> Result<ComponentStats, UnknownComponent> {
        Ok(self.known(kind, name)?.stats())
    }

    /// Resets a component to its initial state.
    ///
    /// # Errors
    /// Returns an error with similar names if there is no such component.
    ///
    /// ```
    /// use resilient_runtime::{Kind, Registry};
    /// let registry = Registry::new();
    /// registry.circuit_breaker("payment");
    /// assert!(registry.reset(Kind::CircuitBreaker, "payment").is_ok());
    /// let error = registry.reset(Kind::CircuitBreaker, "paymnet").unwrap_err();
    /// assert_eq!(error.to_string(), "there is no circuit_breaker `paymnet`; did you mean `payment`?");
    /// ```
    pub fn reset(&self, kind: Kind, name: &str) -> Result<(), UnknownComponent> {
        self.known(kind, name)?.reset();
        Ok(())
    }

    /// Records that an operator changed a component.
    ///
    /// Admin APIs call it for each change. Publishes an event and logs to `resilient_runtime::audit`, with the
    /// correlation id of the current scope.
    ///
    /// ```
    /// use resilient_runtime::{EventKind, Kind, Registry};
    ///
    /// let registry = Registry::new();
    /// registry.bulkhead("gateway");
    /// let mut events = registry.subscribe();
    /// registry.record_action(Kind::Bulkhead, "gateway", "set max_concurrent").unwrap();
    /// let event = events.try_recv().unwrap();
    /// assert_eq!(event.what, EventKind::OperatorAction { action: "set max_concurrent".into() });
    /// ```
    ///
    /// # Errors
    /// Returns an error if there is no such component.
    pub fn record_action(&self, kind: Kind, name: &str, action: &str) -> Result<(), UnknownComponent> {
        let component = self.known(kind, name)?;
        tracing::info!(target: "resilient_runtime::audit", action, %kind, name, "operator action");
        component.publish(EventKind::OperatorAction { action: action.to_owned() });
        Ok(())
    }

    /// Returns all effective settings with their origins, by kind and name.
    ///
    /// ```
    /// use resilient_runtime::{Kind, Registry, settings::Value};
    ///
    /// let registry = Registry::new();
    /// registry.rate_limiter("login");
    /// let settings = &registry.effective()[&Kind::RateLimit]["login"];
    /// assert_eq!((settings[0].field, &settings[0].value), ("rate", &Value::Unset));
    /// ```
    pub fn effective(&self) -> BTreeMap<Kind, BTreeMap<String, Vec<Effective>>> {
        let of = |(name, component): (&str, Arc<dyn AnyComponent>)| (name.to_owned(), component.effective());
        Kind::all().map(|kind| (kind, self.0.shelves.of(kind).all().into_iter().map(of).collect())).collect()
    }

    /// Returns the names in use, by kind.
    ///
    /// ```
    /// use resilient_runtime::{Kind, Registry};
    ///
    /// let registry = Registry::new();
    /// registry.hedge("search");
    /// let used: Vec<_> = registry.names().into_iter().filter(|(_, names)| !names.is_empty()).collect();
    /// assert_eq!(used, [(Kind::Hedge, vec!["search".to_owned()])]);
    /// ```
    pub fn names(&self) -> Vec<(Kind, Vec<String>)> {
        Kind::all().map(|kind| (kind, self.names_of(kind))).collect()
    }

    pub(super) fn overflowed_names(&self) -> BTreeMap<Kind, u64> {
        let of = |kind| (kind, self.0.shelves.of(kind).overflows());
        Kind::all().map(of).filter(|(_, count)| *count > 0).collect()
    }

    pub(super) fn names_of(&self, kind: Kind) -> Vec<String> {
        self.0.shelves.of(kind).all().into_iter().map(|(name, _)| name.to_owned()).collect()
    }

    /// Returns the component with this kind and name.
    pub(super) fn known(&self, kind: Kind, name: &str) -> Result<Arc<dyn AnyComponent>, UnknownComponent> {
        self.0.shelves.of(kind).get(&name::normal(name)).ok_or_else(|| self.unknown(kind, name))
    }

    fn unknown(&self, kind: Kind, name: &str) -> UnknownComponent {
        let known = self.names_of(kind);
        let nearest = ranked(name, known.iter().map(String::as_str));
        let nearest = nearest.into_iter().take(3).map(str::to_owned).collect();
        UnknownComponent { kind, name: name.to_owned(), nearest }
    }
}
