//! Whose certificates are believed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tasker_core::callback::Host;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::Trouble;

/// Why there is nobody to believe.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, String),
    /// There is no certificate in it, or in the system's store.
    #[error("there is no certificate of an authority in {0}")]
    Empty(String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Refused(String),
}

/// Whom to believe.
pub(crate) struct Trust(TlsConnector);

impl Trust {
    pub(crate) fn new(ca: Option<&Path>) -> Result<Self, CaError> {
        let mut roots = RootCertStore::empty();
        let (found, place) = match ca {
            Some(path) => {
                let unreadable = |error: &dyn std::fmt::Display| {
                    CaError::Unreadable(path.to_owned(), error.to_string())
                };
                let pem = std::fs::read(path).map_err(|e| unreadable(&e))?;
                let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
                (
                    found.map_err(|e| unreadable(&e))?,
                    path.display().to_string(),
                )
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                (found.certs, "the system's store".to_owned())
            }
        };
        let (added, _) = roots.add_parsable_certificates(found);
        if added == 0 {
            return Err(CaError::Empty(place));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| CaError::Refused(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// The same connection, encrypted, to the host whose name the certificate must have.
    pub(crate) async fn encrypt(
        &self,
        host: &Host,
        connection: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Trouble> {
        let untrusted = |error: String| Trouble::Untrusted(error);
        let name = match host {
            Host::Address(address) => ServerName::from(*address),
            Host::Name(name) => ServerName::try_from(name.to_string())
                .map_err(|error| untrusted(error.to_string()))?,
        };
        let connected = self.0.connect(name, connection).await;
        connected.map_err(|error| untrusted(error.to_string()))
    }
}
