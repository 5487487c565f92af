//! Faults for single requests, over real connections.
#![cfg(feature = "chaos")]
#![allow(clippy::disallowed_methods)] // Tests run on the tokio runtime.

use std::time::Duration;

use axum::{Router, routing::get};
use resilient_http::HttpServer;
use resilient_http::layer::{FaultTokenLayer, ServerLayer};
use resilient_runtime::chaos::{Fault, FaultToken};
use resilient_runtime::{Class, Component, Registry, Rejection, retry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Starts a server that trusts these peers, and returns its port.
async fn serve(registry: &Registry, peers: &[&str]) -> u16 {
    let quick = retry::Config::default().base(Duration::ZERO);
    registry.retry("db").reconfigure(quick).unwrap();
    let load = std::sync::Arc::new(registry.pipeline("load").retry("db").build());
    let handler = async move || {
        let work =
            resilient_runtime::carry(async move { load.call_async(async || Ok::<_, Rejection>(7)).await });
        match tokio::spawn(work).await.unwrap() {
            Ok(_) => "loaded".to_owned(),
            Err(error) => error.to_string(),
        }
    };
    let server = ServerLayer::new(registry.pipeline("api").build()).unwrap();
    let tokens = FaultTokenLayer::from_peers(peers).unwrap();
    let router = Router::new().route("/", get(handler)).layer(server).layer(tokens);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(HttpServer::new(router).run(listener, std::future::pending()));
    port
}

async fn ask(port: u16, headers: &str) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    connection.read_to_string(&mut response).await.unwrap();
    response
}

const TOKEN: &str = "resilient-fault: ada-7\r\n";

#[tokio::test]
async fn a_token_of_a_trusted_peer_affects_this_request_only() {
    let registry = Registry::new();
    let port = serve(&registry, &["127.0.0.1"]).await;
    let fault = Fault::error(Class::TRANSIENT).on("load").header_token("ada-7");
    let fault = registry.chaos().inject(fault).unwrap();
    let hit = ask(port, TOKEN).await;
    assert!(hit.contains("injected by fault 1"), "{hit}");
    assert_eq!(fault.injected(), 4, "the retries too, in a task with the context");
    for headers in ["", "resilient-fault: eve\r\n", "resilient-fault: ada-7 \u{7f}\r\n"] {
        let other = ask(port, headers).await;
        assert!(!other.contains("injected"), "{other}");
    }
    assert_eq!(fault.injected(), 4);
    let _api =
        registry.chaos().inject(Fault::error(Class::TRANSIENT).on("api").header_token("ada-7")).unwrap();
    let failed = ask(port, TOKEN).await;
    assert!(!failed.starts_with("HTTP/1.1 200"), "the server pipeline is a target: {failed}");
    assert!(ask(port, "").await.starts_with("HTTP/1.1 200"));
    assert!(FaultToken::current().is_none());
}

#[tokio::test]
async fn nobody_is_trusted_unless_listed() {
    for peers in [&[][..], &["10.0.0.0/8"]] {
        let registry = Registry::new();
        let port = serve(&registry, peers).await;
        let fault = Fault::error(Class::TRANSIENT).on("load").header_token("ada-7");
        let fault = registry.chaos().inject(fault).unwrap();
        let spoofed = format!("{TOKEN}x-forwarded-for: 10.0.0.1\r\n");
        let response = ask(port, &spoofed).await;
        assert!(response.contains("loaded"), "{response}");
        assert_eq!(fault.injected(), 0);
    }
}
