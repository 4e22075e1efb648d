//! Certificates.

use std::sync::Arc;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The settings of TLS: checked with the machine's certificates, or, if there are none, with those
/// that Mozilla trusts.
pub(super) fn config(unchecked: bool) -> TlsConfig {
    let builder = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    if unchecked {
        return builder.disable_verification(true).build();
    }
    let own = rustls_native_certs::load_native_certs().certs;
    let roots: Vec<Certificate<'static>> = match own.is_empty() {
        false => own
            .iter()
            .map(|c| Certificate::from_der(c).to_owned())
            .collect(),
        true => webpki_root_certs::TLS_SERVER_ROOT_CERTS
            .iter()
            .map(|c| Certificate::from_der(c).to_owned())
            .collect(),
    };
    builder.root_certs(RootCerts::from(roots)).build()
}
