//! The store through pgbouncer in transaction mode.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Instant;

use resilient_postgres::{Config, PostgresStore};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::payments::{check, create_tables, pay};
use crate::server::{Folder, PATIENCE, Server, free_port, program, url};

pub(crate) struct Bouncer {
    process: Child,
    port: u16,
    _folder: Folder,
}

impl Bouncer {
    /// Starts pgbouncer with two connections to the server.
    pub(crate) async fn start(server: &Server) -> Self {
        let folder = Folder::new();
        let port = free_port();
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n",
            server.port()
        );
        // With `auth_type = any`, every user is `admin` for the server.
        let settings = settings.replacen("port=", "user=admin port=", 1);
        let file = folder.0.join("pgbouncer.ini");
        std::fs::write(&file, settings).unwrap();
        let mut bouncer = program("pgbouncer", &folder.0);
        let process = bouncer.arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process =
            process.expect("`pgbouncer` is required: run `cargo xtask postgres`, which installs it");
        let bouncer = Self { process, port, _folder: folder };
        let start = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(start.elapsed() < PATIENCE, "pgbouncer does not respond");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        bouncer
    }

    pub(crate) fn url(&self) -> String {
        url(&format!("127.0.0.1:{}", self.port))
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn it_works_through_pgbouncer_in_transaction_mode() {
    // T172
    let server = Server::start_with(&[]).await;
    let bouncer = Bouncer::start(&server).await;
    let store = PostgresStore::new(Config::new(bouncer.url()).timeout(PATIENCE)).unwrap();
    store.migrate().await.unwrap();
    let pass = async |span| tokio::time::sleep(span).await;
    resilient_runtime::testing::check_idempotency_store(&store, pass).await.unwrap();

    create_tables(&server.pool()).await;
    // As the documentation says, because pgbouncer 1.18 refuses this parameter.
    let options = bouncer.url().parse::<PgConnectOptions>().unwrap().extra_float_digits(None);
    let pool = PgPoolOptions::new().max_connections(8).acquire_timeout(PATIENCE).connect_lazy_with(options);
    let store = Arc::new(store);
    let tasks = (0..8).map(|_| {
        let (store, pool) = (Arc::clone(&store), pool.clone());
        tokio::spawn(async move {
            let mut paid = Vec::new();
            for order in 0..20 {
                paid.push((
                    order,
                    pay(&store, &pool, order, |_| ()).await.map_err(|error| error.to_string()).unwrap(),
                ));
            }
            paid
        })
    });
    let mut acknowledged = BTreeMap::new();
    for task in tasks.collect::<Vec<_>>() {
        for (order, number) in task.await.unwrap() {
            assert_eq!(*acknowledged.entry(order).or_insert(number), number, "one receipt for each order");
        }
    }
    check(&server.pool(), &acknowledged).await;
    // No setting of an operation remains in the connections that pgbouncer shares.
    for setting in ["SHOW lock_timeout", "SHOW statement_timeout"] {
        for _ in 0..4 {
            let value: String = sqlx::query_scalar(setting).persistent(false).fetch_one(&pool).await.unwrap();
            assert_eq!(value, "0", "{setting}");
        }
    }
}
