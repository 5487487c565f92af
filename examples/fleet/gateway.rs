//! The dependency of all instances: it charges orders and has a stock.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;

/// How long the gateway takes for an order whose name starts with `slow`.
const SLOW: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(crate) struct Gateway {
    /// How often each order was charged. Unlike a real gateway, it charges each time it is asked.
    charges: Mutex<HashMap<String, u32>>,
    /// Instances that cannot reach the stock.
    cut_off: Mutex<BTreeSet<u16>>,
}

impl Gateway {
    pub(crate) async fn serve(self: &Arc<Self>, port: u16) -> Result<SocketAddr, String> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| {
            format!("cannot listen on {address}: {error}; choose another port with `--port N`")
        })?;
        let routes = Router::new()
            .route("/charge/{order}", post(charge))
            .route("/stock/{instance}", post(stock))
            .with_state(Arc::clone(self));
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(address)
    }

    pub(crate) fn charges(&self, order: &str) -> u32 {
        locked(&self.charges).get(order).copied().unwrap_or(0)
    }

    pub(crate) fn cut_off(&self, instances: impl IntoIterator<Item = u16>) {
        *locked(&self.cut_off) = instances.into_iter().collect();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn charge(State(gateway): State<Arc<Gateway>>, Path(order): Path<String>) -> String {
    let number = {
        let mut charges = locked(&gateway.charges);
        let number = charges.entry(order.clone()).or_default();
        *number += 1;
        *number
    };
    if order.starts_with("slow") {
        tokio::time::sleep(SLOW).await;
    }
    format!("receipt {number} of {order}")
}

async fn stock(State(gateway): State<Arc<Gateway>>, Path(instance): Path<u16>) -> (StatusCode, &'static str) {
    if locked(&gateway.cut_off).contains(&instance) {
        return (StatusCode::SERVICE_UNAVAILABLE, "out of reach");
    }
    (StatusCode::OK, "7 pieces")
}
