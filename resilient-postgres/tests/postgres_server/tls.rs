//! An encrypted connection.

use std::os::unix::fs::PermissionsExt as _;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use resilient_postgres::{Config, PostgresStore};

use crate::problem;
use crate::server::{Folder, PATIENCE, Server, give};

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_server_is_used_only_if_its_certificate_is_trusted() {
    let authority = || {
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap()
    };
    let (trusted, other, key) = (authority(), authority(), KeyPair::generate().unwrap());
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &trusted).unwrap();
    let folder = Folder::new();
    let file = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    let files = [("ca.pem", trusted.pem()), ("other.pem", other.pem()), ("leaf.pem", leaf.pem())];
    for (name, text) in files.into_iter().chain([("key.pem", key.serialize_pem())]) {
        std::fs::write(file(name), text).unwrap();
        std::fs::set_permissions(file(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        give(file(name).as_ref());
    }
    let settings =
        [format!("ssl_cert_file={}", file("leaf.pem")), format!("ssl_key_file={}", file("key.pem"))];
    let server = Server::start_with(&["ssl=on", &settings[0], &settings[1]]).await;
    server.store().migrate().await.unwrap();
    server.run("CREATE ROLE encrypted LOGIN SUPERUSER").await;
    let check = async |parameters: &str| {
        let url = format!("postgres://encrypted@{}/postgres?{parameters}", server.address());
        PostgresStore::new(Config::new(url).timeout(PATIENCE)).unwrap().check().await
    };
    let verified = |authority: &str| format!("sslmode=verify-full&sslrootcert={}", file(authority));
    assert_eq!(check(&verified("ca.pem")).await, Ok(()));
    let untrusted = problem(check(&verified("other.pem")).await);
    assert!(untrusted.contains("certificate of the server is not trusted: set `sslrootcert`"), "{untrusted}");

    let plain = Server::start().await;
    let url = format!("postgres://admin@{}/postgres?sslmode=require", plain.address());
    let refused = problem(PostgresStore::new(Config::new(url).timeout(PATIENCE)).unwrap().check().await);
    assert!(refused.contains("the encrypted connection was refused: check `sslmode`"), "{refused}");
}
