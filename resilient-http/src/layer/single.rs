//! Layers of one component.

use std::sync::Arc;

use resilient::{
    Bulkhead, CircuitBreaker, Component, Hedge, LoadShedder, Pipeline, RateLimiter, Retry, Timeout,
};

use super::{ClientLayer, ServerLayer};

macro_rules! single {
    (server $($stage:ident: $component:ident),*; client $($also:ident: $other:ident),*) => {
        impl ServerLayer {
            $(
                #[doc = concat!("Of this [`", stringify!($component), "`] alone.")]
                pub fn $stage(component: &Arc<$component>) -> Self {
                    let name = format!(concat!("server ", stringify!($stage), " {}"), component.name());
                    Self::around(Arc::new(Pipeline::builder(&name).$stage(component).build()))
                }
            )*
        }

        impl<Q, R> ClientLayer<Q, R> {
            $(
                #[doc = concat!("Of this [`", stringify!($component), "`] alone.")]
                pub fn $stage(component: &Arc<$component>) -> Self {
                    let name = format!(concat!("client ", stringify!($stage), " {}"), component.name());
                    Self::new(Pipeline::builder(&name).$stage(component).build())
                }
            )*
            $(
                #[doc = concat!("Of this [`", stringify!($other), "`] alone.")]
                pub fn $also(component: &Arc<$other>) -> Self {
                    let name = format!(concat!("client ", stringify!($also), " {}"), component.name());
                    Self::new(Pipeline::builder(&name).$also(component).build())
                }
            )*
        }
    };
}

single! {
    server circuit_breaker: CircuitBreaker, bulkhead: Bulkhead, rate_limit: RateLimiter, timeout: Timeout,
        load_shed: LoadShedder;
    client retry: Retry, hedge: Hedge
}
