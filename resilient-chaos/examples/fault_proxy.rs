//! Serves the API of the fault proxy, for clients of Toxiproxy: `cargo run --example fault_proxy -- 127.0.0.1:8474`.
//!
//! Prints the address of the API. Ends when its standard input ends.

use resilient_chaos::proxy::Proxies;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8474".to_owned());
    let listener =
        TcpListener::bind(&address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    println!("http://{}", listener.local_addr()?);
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // An error also means that there is no more input.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended.send(());
    });
    tokio::select! {
        served = Proxies::new().serve(listener) => served?,
        _ = end => {}
    }
    Ok(())
}
