//! TLS for `https` URLs: which certificates are trusted, and why one was rejected.

use std::path::Path;

use rustls::CertificateError;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::connection::{Connection, read_bytes};
use crate::failure::Failure;

/// The settings of TLS for a connection: the certificates of `--ca`, or the ones that the operating system trusts.
///
/// # Errors
/// Fails if there is no usable certificate.
pub(crate) fn config(connection: &Connection) -> Result<TlsConfig, Failure> {
    // It fails only if it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let roots = match &connection.ca {
        Some(path) => from_file(path)?,
        None => of_system()?,
    };
    Ok(TlsConfig::builder().root_certs(RootCerts::from(roots)).build())
}

/// The certificates of a file in PEM form. All of them must be usable.
fn from_file(path: &Path) -> Result<Vec<Certificate<'static>>, Failure> {
    let shown = path.display();
    let wrong = |why: &str| {
        Failure::usage(format!("the file {shown} of --ca {why}"))
            .hint("expected certificates in PEM form, which begin with -----BEGIN CERTIFICATE-----")
    };
    let bytes = read_bytes(path)?;
    let mut roots = Vec::new();
    for item in parse_pem(&bytes) {
        // A key in the same file is not needed.
        if let PemItem::Certificate(certificate) = item.map_err(|_| wrong("is not valid PEM"))? {
            roots.push(certificate);
        }
    }
    let mut store = rustls::RootCertStore::empty();
    for (index, certificate) in roots.iter().enumerate() {
        let added = store.add(rustls::pki_types::CertificateDer::from(certificate.der()));
        added.map_err(|error| {
            wrong(&format!("contains an invalid certificate, number {}: {error}", index + 1))
        })?;
    }
    if roots.is_empty() { Err(wrong("contains no certificate")) } else { Ok(roots) }
}

fn of_system() -> Result<Vec<Certificate<'static>>, Failure> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(Failure::usage(format!("this system has no certificate authorities for https{why}"))
            .hint("install its package of CA certificates, such as `ca-certificates`, or pass --ca FILE"));
    }
    Ok(found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect())
}

/// Why TLS with a server failed, and the remedy.
pub(crate) fn explain(error: &ureq::Error, connection: &Connection) -> Option<(String, Option<String>)> {
    let error = match error {
        ureq::Error::Rustls(error) => error,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref::<rustls::Error>()?,
        _ => return None,
    };
    Some(match error {
        rustls::Error::InvalidCertificate(reason) => {
            let (why, hint) = rejected(reason, connection);
            (format!("its certificate is rejected: {why}"), hint)
        }
        rustls::Error::InvalidMessage(_) => {
            let hint = "if the service does not use TLS, write http:// instead of https://";
            ("it does not answer with TLS".to_owned(), Some(hint.to_owned()))
        }
        other => (format!("TLS failed: {other}"), None),
    })
}

fn rejected(reason: &CertificateError, connection: &Connection) -> (String, Option<String>) {
    use CertificateError as Bad;
    let (why, hint) = match reason {
        Bad::UnknownIssuer | Bad::BadSignature => {
            let why = "no trusted certificate authority has signed it";
            let hint = match &connection.ca {
                Some(path) => format!(
                    "only the certificates in {} are trusted; pass the one of the service's CA with --ca FILE",
                    path.display()
                ),
                None => "if it is private or self-signed, pass the certificate of its CA with --ca FILE"
                    .to_owned(),
            };
            return (why.to_owned(), Some(hint));
        }
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
            (reason.to_string(), "use a host name of the certificate in the URL")
        }
        Bad::Expired | Bad::ExpiredContext { .. } => (
            "it has expired".to_owned(),
            "renew the certificate of the service, or correct the clock of this machine",
        ),
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            ("it is not valid yet".to_owned(), "compare the clocks of this machine and of the service")
        }
        // For example a self-signed certificate of `openssl req -x509`, which is marked as a CA.
        Bad::Other(_) if reason.to_string().contains("CaUsedAsEndEntity") => (
            "it is the certificate of a CA, and not of a server".to_owned(),
            "let the CA sign a certificate for the service; a self-signed one needs `basicConstraints=CA:FALSE`",
        ),
        _ => return (reason.to_string(), None),
    };
    (why, Some(hint.to_owned()))
}
