//! TLS, for a hub behind a proxy: the certificates that the system trusts, and those that the program adds.

use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::HubClient;

/// The text is not a list of certificates in PEM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the root certificate cannot be used: {message}")]
pub struct InvalidCertificate {
    message: String,
}

impl HubClient {
    /// Trusts these certificates, too: one or more in PEM, such as the root of a private certificate authority. The
    /// certificates of the system are trusted without this.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), iotpi_core::AnyError> {
    /// use iotpi_core::HubClient;
    ///
    /// let root = std::fs::read("/etc/iotpi/root.pem")?;
    /// let hub = HubClient::new("https://hub.example")?.with_root_certificate(&root)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`InvalidCertificate`] if there is none, or one is invalid.
    pub fn with_root_certificate(mut self, pem: &[u8]) -> Result<Self, InvalidCertificate> {
        let invalid = |message: String| InvalidCertificate { message };
        let mut roots = self.http.roots.clone();
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| invalid(format!("{error:?}")))?;
            roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
        }
        if roots.len() == before {
            return Err(invalid("the text contains no certificate".to_owned()));
        }
        self.http.trust(roots);
        Ok(self)
    }
}

/// The certificates that the system trusts. A certificate that cannot be read is left out.
pub(super) fn native_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// The settings of TLS connections. `None` if the protocol versions are not supported, which does not happen.
pub(super) fn config(roots: RootCertStore) -> Option<ClientConfig> {
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let versions = versions.with_safe_default_protocol_versions().ok()?;
    Some(versions.with_root_certificates(roots).with_no_client_auth())
}

/// A connector for `http` and `https`.
pub(super) fn connector(tcp: HttpConnector, config: ClientConfig) -> HttpsConnector<HttpConnector> {
    HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(tcp)
}
