//! A pipeline put together by hand.

use std::sync::Arc;

use super::{Registry, registry};
use crate::bulkhead::Bulkhead;
use crate::circuit_breaker::CircuitBreaker;
use crate::clock::Clock;
use crate::coalesce::Coalesce;
use crate::component::Create;
use crate::fallback::Fallback;
use crate::hedge::Hedge;
use crate::idempotency::Idempotency;
use crate::load_shed::LoadShedder;
use crate::pipeline::{Bypass, Demands, Pipeline, Predicates};
use crate::rate_limit::RateLimiter;
use crate::retry::Retry;
use crate::sync::AtomicBool;
use crate::timeout::Timeout;

/// Something that names or is a component.
///
/// ```
/// use std::sync::Arc;
/// use resilient_runtime::{Bulkhead, Registry, registry::IntoComponent};
///
/// let registry = Registry::new();
/// let by_name: Arc<Bulkhead> = "gateway".into_component(&registry);
/// let at_hand = registry.bulkhead("gateway").into_component(&registry);
/// assert!(Arc::ptr_eq(&by_name, &at_hand));
/// ```
pub trait IntoComponent<C> {
    /// The component, looked up or made by its name in `registry` where it is not at hand.
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

/// Puts a [`Pipeline`] together. The order of the calls does not matter: the order of the stages is fixed.
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
    retry: Option<Arc<Retry>>,
    circuit_breaker: Option<Arc<CircuitBreaker>>,
    rate_limit: Option<Arc<RateLimiter>>,
    bulkhead: Option<Arc<Bulkhead>>,
    timeout: Option<Arc<Timeout>>,
    fallback: Option<Arc<Fallback>>,
    coalesce: Option<Arc<Coalesce>>,
    hedge: Option<Arc<Hedge>>,
    load_shed: Option<Arc<LoadShedder>>,
    idempotency: Option<Arc<Idempotency>>,
    idempotent: bool,
}

macro_rules! stages {
    ($($stage:ident: $component:ident = $accessor:ident),*) => {
        $(
            impl IntoComponent<$component> for &str {
                fn into_component(self, registry: &Registry) -> Arc<$component> {
                    registry.$accessor(self)
                }
            }
        )*

        impl PipelineBuilder {
            $(
                #[doc = concat!("Adds this [`", stringify!($component), "`], or the one of this name.")]
                ///
                /// ```
                #[doc = concat!("use resilient_runtime::{Component, Registry, ", stringify!($component), "};")]
                ///
                #[doc = concat!("let order = Registry::new().pipeline(\"order\").", stringify!($stage), "(\"shop\").build();")]
                /// let stage = &order.explain().stages[0];
                #[doc = concat!("assert_eq!((stage.kind, &*stage.component), (", stringify!($component), "::KIND, \"shop\"));")]
                /// ```
                pub fn $stage(mut self, component: impl IntoComponent<$component>) -> Self {
                    self.$stage = Some(component.into_component(&self.registry));
                    self
                }
            )*
        }
    };
}

stages! {
    coalesce: Coalesce = coalesce,
    load_shed: LoadShedder = load_shedder,
    idempotency: Idempotency = idempotency,
    retry: Retry = retry,
    hedge: Hedge = hedge,
    circuit_breaker: CircuitBreaker = circuit_breaker,
    rate_limit: RateLimiter = rate_limiter,
    bulkhead: Bulkhead = bulkhead,
    timeout: Timeout = timeout,
    fallback: Fallback = fallback
}

impl Pipeline {
    /// Starts a pipeline for the operation `name`, with components of the process's registry.
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
        Self {
            name: name.to_owned(),
            registry: registry.clone(),
            retry: None,
            circuit_breaker: None,
            rate_limit: None,
            bulkhead: None,
            timeout: None,
            fallback: None,
            coalesce: None,
            hedge: None,
            load_shed: None,
            idempotency: None,
            idempotent: false,
        }
    }

    /// That of its components, which may be of another registry than that in which names are looked up.
    fn clock(&self) -> Clock {
        fn of<C: Create>(component: Option<&Arc<C>>) -> Option<&Clock> {
            component.map(|component| component.core().clock())
        }
        let known = of(self.timeout.as_ref())
            .or(of(self.circuit_breaker.as_ref()))
            .or(of(self.rate_limit.as_ref()))
            .or(of(self.bulkhead.as_ref()))
            .or(of(self.retry.as_ref()))
            .or(of(self.hedge.as_ref()))
            .or(of(self.load_shed.as_ref()))
            .or(of(self.idempotency.as_ref()))
            .or(of(self.coalesce.as_ref()))
            .or(of(self.fallback.as_ref()));
        known.unwrap_or_else(|| self.registry.clock()).clone()
    }

    /// Looks names up in this registry from here on, and takes its clock. Say it first.
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

    /// The work may run twice with the effect of once, so that it is retried even where it may have been
    /// carried out: after a timeout, or when the connection broke.
    ///
    /// ```
    /// let read = resilient_runtime::Registry::new().pipeline("read").idempotent().build();
    /// assert!(read.explain().idempotent);
    /// ```
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Takes the circuit breaker out again, for a pipeline that several dependencies share: one of them that is dead would
    /// open the circuit of the others.
    ///
    /// ```
    /// use resilient_runtime::{Kind, Registry};
    ///
    /// let usual = Registry::new().pipeline("order").retry("db").circuit_breaker("db");
    /// let stages = usual.without_circuit_breaker().build().explain().stages;
    /// assert_eq!(stages.iter().map(|stage| stage.kind).collect::<Vec<_>>(), [Kind::Retry]);
    /// ```
    pub fn without_circuit_breaker(self) -> Self {
        Self { circuit_breaker: None, ..self }
    }

    /// The pipeline. Some stages need more than the work, such as a key: a call by a method that would pass one over is
    /// refused (see [`pipeline`](crate::pipeline)). Its numbers are those of the operation of this name in the registry.
    ///
    /// ```
    /// let registry = resilient_runtime::Registry::new();
    /// let (one, other) = (registry.pipeline("order").build(), registry.pipeline("order").build());
    /// one.call(|| Some(7));
    /// assert_eq!(other.stats().calls, 1, "one name, one operation");
    /// ```
    pub fn build(self) -> Pipeline {
        let mut pipeline = Pipeline {
            operation: self.registry.operation(&self.name),
            clock: self.clock(),
            texts: self.registry.0.environment.texts().clone(),
            switch: self.registry.0.switch.clone(),
            bypass: Bypass::default(),
            retry: self.retry,
            circuit_breaker: self.circuit_breaker,
            rate_limit: self.rate_limit,
            bulkhead: self.bulkhead,
            timeout: self.timeout,
            fallback: self.fallback,
            coalesce: self.coalesce,
            hedge: self.hedge,
            load_shed: self.load_shed,
            idempotency: self.idempotency,
            levels: &[],
            keeps: false,
            asynchronous: false,
            idempotent: self.idempotent,
            predicates: Predicates::default(),
            is_by_hand: true,
            needs: Demands::default(),
            is_misuse_told: AtomicBool::new(false),
        };
        pipeline.needs = pipeline.demands_of_stages();
        self.registry.explain_as(pipeline.name(), pipeline.explain());
        pipeline
    }
}
