//! Builds a pipeline without the attribute.

use std::sync::Arc;

use super::{Registry, registry};
use crate::clock::Clock;
use crate::component::Create;
use crate::kind::table::components;
use crate::pipeline::{Bypass, Demands, Pipeline, Predicates, StageComponents};
use crate::sync::AtomicBool;

/// A component or the name of one.
///
/// ```
/// use std::sync::Arc;
/// use resilient_runtime::{Bulkhead, Registry, registry::IntoComponent};
///
/// let registry = Registry::new();
/// let by_name: Arc<Bulkhead> = "gateway".into_component(&registry);
/// let by_value = registry.bulkhead("gateway").into_component(&registry);
/// assert!(Arc::ptr_eq(&by_name, &by_value));
/// ```
pub trait IntoComponent<C> {
    /// Returns the component.
    ///
    /// A name is looked up in `registry`, and the component is created if it does not exist.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, Retry, registry::IntoComponent};
    ///
    /// let retry: std::sync::Arc<Retry> = "stock".into_component(&Registry::new());
    /// assert_eq!(retry.name(), "stock");
    /// ```
    fn into_component(self, registry: &Registry) -> Arc<C>;
}

impl<C> IntoComponent<C> for Arc<C> {
    fn into_component(self, _: &Registry) -> Arc<C> {
        self
    }
}

impl<C> IntoComponent<C> for &Arc<C> {
    fn into_component(self, _: &Registry) -> Arc<C> {
        Arc::clone(self)
    }
}

/// Builds a [`Pipeline`].
///
/// The order of the method calls does not matter, because the order of the stages is fixed.
///
/// ```
/// use resilient_runtime::{Kind, Registry};
///
/// let pipeline = Registry::new().pipeline("order").bulkhead("db").retry("db").build();
/// let stages: Vec<_> = pipeline.explain().stages.into_iter().map(|stage| stage.kind).collect();
/// assert_eq!(stages, [Kind::Retry, Kind::Bulkhead], "the order is fixed");
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct PipelineBuilder {
    name: String,
    registry: Registry,
    stages: StageComponents,
    idempotent: bool,
}

macro_rules! stages {
    ($($kind:ident $name:ident $accessor:ident $module:ident::{$type:ident, $stats:ident} $make:ident;)*) => {
        impl StageComponents {
            /// Returns the clock of the timeout, which the pipeline must use. Without a timeout, returns the clock
            /// of the innermost stage.
            fn clock(&self) -> Option<&Clock> {
                fn of<C: Create>(component: Option<&Arc<C>>) -> Option<&Clock> {
                    component.map(|component| component.core().clock())
                }
                let innermost = None;
                $(let innermost = of(self.$name.as_ref()).or(innermost);)*
                of(self.timeout.as_ref()).or(innermost)
            }

            /// Creates the pipeline of these components for the operation `name`.
            pub(super) fn around(self, registry: &Registry, name: &str, clock: Clock) -> Pipeline {
                Pipeline {
                    operation: registry.operation(name),
                    clock,
                    texts: registry.0.environment.texts().clone(),
                    switch: registry.0.switch.clone(),
                    bypass: Bypass::default(),
                    #[cfg(feature = "chaos")]
                    chaos: registry.injection_point(crate::membership::Membership::Target),
                    stages: self,
                    levels: &[],
                    keeps: false,
                    asynchronous: false,
                    idempotent: false,
                    predicates: Predicates::default(),
                    is_by_hand: false,
                    needs: Demands::default(),
                    is_misuse_told: AtomicBool::new(false),
                }
            }
        }

        $(
            impl IntoComponent<crate::$module::$type> for &str {
                fn into_component(self, registry: &Registry) -> Arc<crate::$module::$type> {
                    registry.$accessor(self)
                }
            }
        )*

        impl PipelineBuilder {
            $(
                #[doc = concat!("Adds the [`", stringify!($type), "`](crate::", stringify!($module), "::", stringify!($type), "), given directly or by name.")]
                ///
                /// ```
                #[doc = concat!("use resilient_runtime::{Component, Registry, ", stringify!($module), "::", stringify!($type), "};")]
                ///
                #[doc = concat!("let order = Registry::new().pipeline(\"order\").", stringify!($name), "(\"shop\").build();")]
                /// let stage = &order.explain().stages[0];
                #[doc = concat!("assert_eq!((stage.kind, &*stage.component), (", stringify!($type), "::KIND, \"shop\"));")]
                /// ```
                pub fn $name(mut self, component: impl IntoComponent<crate::$module::$type>) -> Self {
                    self.stages.$name = Some(component.into_component(&self.registry));
                    self
                }
            )*
        }
    };
}

components!(stages stages);

impl Pipeline {
    /// Starts a pipeline for the operation `name`, with components of the global registry.
    ///
    /// ```
    /// use resilient_runtime::{Pipeline, Rejection};
    ///
    /// let pipeline = Pipeline::builder("greet").timeout("greet").bulkhead("greet").build();
    /// assert_eq!(pipeline.call(|| Ok::<_, Rejection>("hello")), Ok("hello"));
    /// assert_eq!(resilient_runtime::stats().operations["greet"].succeeded, 1);
    /// ```
    pub fn builder(name: &str) -> PipelineBuilder {
        PipelineBuilder::new(name, registry())
    }
}

impl Registry {
    /// Starts a pipeline for the operation `name`, with components of this registry.
    ///
    /// ```
    /// use resilient_runtime::Registry;
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("order").circuit_breaker("shop").build();
    /// registry.circuit_breaker("shop").force_open();
    /// assert_eq!(pipeline.call(|| Some(7)), None);
    /// assert_eq!(registry.stats().operations["order"].rejected, 1);
    /// ```
    pub fn pipeline(&self, name: &str) -> PipelineBuilder {
        PipelineBuilder::new(name, self)
    }
}

impl PipelineBuilder {
    fn new(name: &str, registry: &Registry) -> Self {
        let (name, registry) = (name.to_owned(), registry.clone());
        Self { name, registry, stages: StageComponents::default(), idempotent: false }
    }

    /// Looks up all names that follow in this registry, and uses its clock.
    ///
    /// Call it first.
    ///
    /// ```
    /// use resilient_runtime::{Pipeline, Registry};
    ///
    /// let mine = Registry::new();
    /// Pipeline::builder("order").registry(&mine).retry("db").build();
    /// assert!(mine.stats().retry.contains_key("db"));
    /// ```
    pub fn registry(mut self, registry: &Registry) -> Self {
        self.registry = registry.clone();
        self
    }

    /// Declares that the work can run twice with the same effect as once.
    ///
    /// It is then retried even if it may have taken effect, for example after a timeout or a broken connection.
    ///
    /// ```
    /// let read = resilient_runtime::Registry::new().pipeline("read").idempotent().build();
    /// assert!(read.explain().idempotent);
    /// ```
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Removes the circuit breaker.
    ///
    /// Use it for a pipeline that several dependencies share. Otherwise one failed dependency would open the
    /// circuit for all of them.
    ///
    /// ```
    /// use resilient_runtime::{Kind, Registry};
    ///
    /// let usual = Registry::new().pipeline("order").retry("db").circuit_breaker("db");
    /// let stages = usual.without_circuit_breaker().build().explain().stages;
    /// assert_eq!(stages.iter().map(|stage| stage.kind).collect::<Vec<_>>(), [Kind::Retry]);
    /// ```
    pub fn without_circuit_breaker(mut self) -> Self {
        self.stages.circuit_breaker = None;
        self
    }

    /// Builds the pipeline.
    ///
    /// Some stages need more than the work, such as a key. A call by a method that would ignore such a stage is
    /// rejected (see [`pipeline`](crate::pipeline)). Statistics are shared with all pipelines for the same
    /// operation name in the registry.
    ///
    /// ```
    /// let registry = resilient_runtime::Registry::new();
    /// let (one, other) = (registry.pipeline("order").build(), registry.pipeline("order").build());
    /// one.call(|| Some(7));
    /// assert_eq!(other.stats().calls, 1, "both count for the same operation");
    /// ```
    pub fn build(self) -> Pipeline {
        // The components can belong to another registry than the one in which names are looked up.
        let clock = self.stages.clock().unwrap_or_else(|| self.registry.clock()).clone();
        let mut pipeline = self.stages.around(&self.registry, &self.name, clock);
        pipeline.idempotent = self.idempotent;
        pipeline.is_by_hand = true;
        pipeline.needs = pipeline.demands_of_stages();
        self.registry.explain_as(pipeline.name(), pipeline.explain());
        pipeline
    }
}
