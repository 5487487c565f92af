//! The cryptography of TLS.

/// Sets the provider of the process, unless the program has set one. The client of Redis uses it.
pub(crate) fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails only if another thread has just set a provider. That one is used then.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
