//! An encrypted connection.

use std::path::PathBuf;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use resilient_redis::{Config, RedisStore};
use resilient_runtime::idempotency::{Claimed, IdempotencyStore};

use crate::server::{PATIENCE, Server, free_port};
use crate::{claim, problem};

const URL: &str = "RESILIENT_TEST_REDIS_TLS";
const TRUSTED: &str = "RESILIENT_TEST_REDIS_TRUSTED";

/// A process of the test below, because each process has its own trusted certificates.
#[tokio::test]
async fn child() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = RedisStore::new(Config::new(url).timeout(PATIENCE)).unwrap();
    let found = store.claim(claim("k", 1)).await;
    if std::env::var(TRUSTED).is_ok() {
        assert!(matches!(found, Ok(Claimed::Acquired | Claimed::InProgress { .. })), "{found:?}");
    } else {
        let problem = problem(found);
        assert!(
            problem.contains("the certificate of the server is not trusted: add its authority"),
            "{problem}"
        );
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_server_is_used_only_if_its_certificate_is_trusted() {
    let authority = || {
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap()
    };
    let (trusted, other, key) = (authority(), authority(), KeyPair::generate().unwrap());
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &trusted).unwrap();
    let folder = Folder::new();
    std::fs::create_dir(folder.0.join("none")).unwrap();
    let files = [("ca.pem", trusted.pem()), ("other.pem", other.pem()), ("leaf.pem", leaf.pem())];
    for (name, text) in files.into_iter().chain([("key.pem", key.serialize_pem())]) {
        std::fs::write(folder.0.join(name), text).unwrap();
    }
    let file = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    let options = |port: u16| {
        [
            ("tls-port", port.to_string()),
            ("tls-cert-file", file("leaf.pem")),
            ("tls-key-file", file("key.pem")),
            ("tls-ca-cert-file", file("ca.pem")),
            ("tls-auth-clients", "no".to_owned()),
            ("tls-replication", "yes".to_owned()),
        ]
    };
    let start = async |port: u16, more: &[&str]| {
        let options = options(port).map(|(name, value)| [format!("--{name}"), value]);
        let arguments: Vec<&str> =
            options.iter().flatten().map(String::as_str).chain(more.iter().copied()).collect();
        Server::start(&arguments).await
    };
    let (single, member, sentinel) = (free_port(), free_port(), free_port());
    let _server = start(single, &[]).await;
    let bus = free_port().to_string();
    let node =
        start(member, &["--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-port", &bus]).await;
    let slots: Vec<String> = (0..16384).map(|slot: u32| slot.to_string()).collect();
    node.run(&format!("CLUSTER ADDSLOTS {}", slots.join(" "))).await;
    let lines = options(sentinel).map(|(name, value)| format!("{name} {value}")).join("\n");
    let _sentinel = Server::sentinel(&format!("{lines}\nsentinel monitor m 127.0.0.1 {single} 1")).await;
    let began = std::time::Instant::now();
    while !node.cli("", &["CLUSTER", "INFO"]).contains("cluster_state:ok") {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    for url in [
        format!("rediss://127.0.0.1:{single}"),
        format!("rediss+cluster://127.0.0.1:{member}"),
        format!("rediss+sentinel://127.0.0.1:{sentinel}/m"),
    ] {
        for (authority, is_trusted) in [("ca.pem", true), ("other.pem", false)] {
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["tls::child", "--exact"]).env(URL, &url);
            child.env("SSL_CERT_FILE", file(authority)).env("SSL_CERT_DIR", folder.0.join("none"));
            if is_trusted {
                child.env(TRUSTED, "yes");
            }
            let output = child.output().unwrap();
            assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("resilient-redis-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
