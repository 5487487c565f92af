//! Layers of a single component.

use std::sync::Arc;

use resilient_runtime::{
    Bulkhead, CircuitBreaker, Component, Hedge, LoadShedder, Pipeline, RateLimiter, Retry, Timeout,
};

use super::{ClientLayer, ServerLayer};

macro_rules! single {
    (server $($stage:ident: $component:ident),*; client $($also:ident: $other:ident),*) => {
        impl ServerLayer {
            $(
                #[doc = concat!("Creates a layer with this [`", stringify!($component), "`] alone.")]
                ///
                /// ```
                /// # #[tokio::main(flavor = "current_thread")]
                /// # async fn main() {
                /// use axum::{Router, body::Body, http::Request, routing::get};
                #[doc = concat!("use resilient_runtime::{", stringify!($component), ", Registry, registry::IntoComponent};")]
                /// use resilient_http::layer::ServerLayer;
                /// use tower::ServiceExt;
                ///
                #[doc = concat!("let api: std::sync::Arc<", stringify!($component), "> = \"api\".into_component(&Registry::new());")]
                #[doc = concat!("let layer = ServerLayer::", stringify!($stage), "(&api);")]
                /// let app: Router = Router::new().route("/", get(async || "hello")).layer(layer);
                /// assert_eq!(app.oneshot(Request::new(Body::empty())).await.unwrap().status(), 200);
                /// # }
                /// ```
                pub fn $stage(component: &Arc<$component>) -> Self {
                    let name = format!(concat!("server ", stringify!($stage), " {}"), component.name());
                    Self::around(Arc::new(Pipeline::builder(&name).$stage(component).build()))
                }
            )*
        }

        impl<Q, R> ClientLayer<Q, R> {
            $(
                #[doc = concat!("Creates a layer with this [`", stringify!($component), "`] alone.")]
                ///
                /// ```
                /// # #[tokio::main(flavor = "current_thread")]
                /// # async fn main() {
                #[doc = concat!("use resilient_runtime::{", stringify!($component), ", Registry, registry::IntoComponent};")]
                /// use resilient_http::layer::ClientLayer;
                /// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
                ///
                #[doc = concat!("let shop: std::sync::Arc<", stringify!($component), "> = \"shop\".into_component(&Registry::new());")]
                #[doc = concat!("let layer = ClientLayer::", stringify!($stage), "(&shop);")]
                /// let price = service_fn(async |count: u32| Ok::<_, BoxError>(count * 995));
                /// assert_eq!(ServiceBuilder::new().layer(layer).service(price).oneshot(2).await.unwrap(), 1990);
                /// # }
                /// ```
                pub fn $stage(component: &Arc<$component>) -> Self {
                    let name = format!(concat!("client ", stringify!($stage), " {}"), component.name());
                    Self::new(Pipeline::builder(&name).$stage(component).build())
                }
            )*
            $(
                #[doc = concat!("Creates a layer with this [`", stringify!($other), "`] alone.")]
                ///
                /// ```
                /// # #[tokio::main(flavor = "current_thread")]
                /// # async fn main() {
                #[doc = concat!("use resilient_runtime::{", stringify!($other), ", Registry, registry::IntoComponent};")]
                /// use resilient_http::layer::ClientLayer;
                /// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
                ///
                #[doc = concat!("let shop: std::sync::Arc<", stringify!($other), "> = \"shop\".into_component(&Registry::new());")]
                #[doc = concat!("let layer = ClientLayer::", stringify!($also), "(&shop);")]
                /// let price = service_fn(async |count: u32| Ok::<_, BoxError>(count * 995));
                /// assert_eq!(ServiceBuilder::new().layer(layer).service(price).oneshot(2).await.unwrap(), 1990);
                /// # }
                /// ```
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
