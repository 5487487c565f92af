//! `https` URLs, against a real TLS server in front of a real admin API.

mod common;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Ran, Served, TOKEN, command, run, serve, shop};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use resilient_runtime::circuit_breaker::State;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A private CA, a TLS server with a certificate of it, and the admin API behind.
struct Secure {
    served: Served,
    url: String,
    port: u16,
    folder: PathBuf,
    _runtime: tokio::runtime::Runtime,
}

impl Secure {
    fn new(name: &str, names: &[&str]) -> Self {
        Self::with(name, names, |_| {})
    }

    fn with(name: &str, names: &[&str], set_up: impl FnOnce(&mut CertificateParams)) -> Self {
        let folder = std::env::temp_dir().join(format!("resilient-cli-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        let mut system = CertificateParams::new([]).unwrap();
        system.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let system = CertifiedIssuer::self_signed(system, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("system.pem"), system.pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut leaf =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        set_up(&mut leaf);
        let chain = vec![leaf.signed_by(&key, &authority).unwrap().der().clone()];
        let served = serve(&shop());
        let backend: SocketAddr = served.url.trim_start_matches("http://").parse().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut front) = acceptor.accept(stream).await else { return };
                    let mut back = TcpStream::connect(backend).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut front, &mut back).await;
                });
            }
        });
        Self { served, url: format!("https://localhost:{port}"), port, folder, _runtime: runtime }
    }

    fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    fn run(&self, ca: Option<&Path>, args: &[&str]) -> Ran {
        let mut command = command(&self.url, args);
        // The certificates of the operating system, which can have none on a test machine.
        command.env("SSL_CERT_FILE", self.folder.join("system.pem")).env("SSL_CERT_DIR", "/nonexistent");
        if let Some(ca) = ca {
            command.arg("--ca").arg(ca);
        }
        run(command.env("RESILIENT_TOKEN", TOKEN))
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_service_with_a_private_certificate_is_controlled_over_tls() {
    let secure = Secure::new("good", &["localhost", "127.0.0.1"]);
    let ca = secure.ca();
    let ran = secure.run(Some(&ca), &["stats"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(ran.out.contains("checkout"), "{ran:?}");
    let ran = secure.run(Some(&ca), &["open", "payment"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(secure.served.registry.circuit_breaker("payment").state(), State::ForcedOpen);
    let by_address = format!("https://127.0.0.1:{}", secure.port);
    let ran = run(command(&by_address, &["health"]).env("RESILIENT_CA", &ca));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "an address, and the CA from the variable: {ran:?}");
}

#[test]
fn events_are_followed_over_tls() {
    let secure = Secure::new("events", &["localhost"]);
    let mut command = command(&secure.url, &["events", "--count", "1"]);
    let mut child = common::Running(command.env("RESILIENT_CA", secure.ca()).spawn().unwrap());
    let _rest = common::wait_for(child.0.stderr.take().unwrap(), "listening to https://localhost");
    secure.served.registry.circuit_breaker("payment").force_open();
    assert!(child.0.wait().unwrap().success());
}

#[test]
fn an_unknown_certificate_is_refused_with_the_remedy_and_the_token_is_not_sent() {
    let secure = Secure::new("unknown", &["localhost"]);
    let ran = secure.run(None, &["open", "payment"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{ran:?}");
    for part in ["its certificate is rejected", "no trusted certificate authority has signed it", "--ca FILE"]
    {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    assert_eq!(secure.served.registry.circuit_breaker("payment").state(), State::Closed);
    let other = Secure::new("other", &["localhost"]);
    let ran = secure.run(Some(&other.ca()), &["stats"]);
    assert!(
        ran.code == 3 && ran.err.contains("only the certificates in ") && ran.err.contains("--ca FILE"),
        "{ran:?}"
    );
}

#[test]
fn a_certificate_for_another_name_or_time_is_refused() {
    let secure = Secure::new("name", &["pay.example"]);
    let ran = secure.run(Some(&secure.ca()), &["stats"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(
        ran.err.contains("pay.example") && ran.err.contains("use a host name of the certificate"),
        "{ran:?}"
    );
    let secure =
        Secure::with("expired", &["localhost"], |leaf| leaf.not_after = rcgen::date_time_ymd(2001, 1, 1));
    let ran = secure.run(Some(&secure.ca()), &["stats"]);
    assert!(ran.code == 3 && ran.err.contains("it has expired") && ran.err.contains("renew"), "{ran:?}");
    let authority = |leaf: &mut CertificateParams| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let secure = Secure::with("authority", &["localhost"], authority);
    let ran = secure.run(Some(&secure.ca()), &["stats"]);
    assert!(ran.code == 3 && ran.err.contains("basicConstraints=CA:FALSE"), "{ran:?}");
}

#[test]
fn the_wrong_scheme_is_told() {
    let secure = Secure::new("scheme", &["localhost"]);
    let ran = run(&mut command(&secure.served.url.replace("http:", "https:"), &["stats"]));
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.contains("does not answer with TLS") && ran.err.contains("write http://"), "{ran:?}");
    let ran = run(&mut command(&secure.url.replace("https:", "http:"), &["stats"]));
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.contains("write https://"), "{ran:?}");
    let ran = run(command(&secure.served.url, &["health"]).arg("--ca").arg(secure.ca()));
    assert!(ran.code == 0 && ran.err.contains("--ca has no effect"), "{ran:?}");
}

#[test]
fn an_unusable_ca_file_is_told_before_anything_is_sent() {
    let secure = Secure::new("file", &["localhost"]);
    let file = secure.folder.join("wrong.pem");
    let invalid = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (text, why) in [
        ("", "contains no certificate"),
        ("not a certificate", "contains no certificate"),
        (invalid, "contains an invalid certificate, number 1"),
        ("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "is not valid PEM"),
    ] {
        std::fs::write(&file, text).unwrap();
        let ran = secure.run(Some(&file), &["stats"]);
        assert!(ran.code == 2 && ran.err.contains(why) && ran.err.contains("in PEM form"), "{text}: {ran:?}");
    }
    std::fs::write(secure.folder.join("system.pem"), "").unwrap();
    let ran = secure.run(None, &["stats"]);
    assert!(
        ran.code == 2 && ran.err.contains("no certificate authorities") && ran.err.contains("--ca FILE"),
        "{ran:?}"
    );
    let ran = secure.run(Some(Path::new("/nonexistent/ca.pem")), &["stats"]);
    assert!(ran.code == 2 && ran.err.contains("cannot read /nonexistent/ca.pem"), "{ran:?}");
}
