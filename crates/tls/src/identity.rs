//! What a server shows.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::files::{TlsError, certificates, key, unusable};
use crate::provider;

/// A server's certificate and key. Clones share what was read last.
#[derive(Debug, Clone)]
pub struct Identity {
    cert: PathBuf,
    key: PathBuf,
    shown: Arc<Shown>,
}

/// What new connections are shown.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}

impl Identity {
    /// Reads a certificate, followed by those between it and the authority, and its key; both PEM.
    ///
    /// # Errors
    /// [`TlsError`], also if the key is readable by others or belongs to another certificate.
    pub fn read(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, TlsError> {
        let (cert, key) = (cert.into(), key.into());
        let shown = load(&cert, &key)?;
        Ok(Self {
            cert,
            key,
            shown: Arc::new(Shown(RwLock::new(shown))),
        })
    }

    /// Reads both files again, for the connections to come. After an error everything stays as it is.
    ///
    /// # Errors
    /// As [`Identity::read`].
    pub fn read_again(&self) -> Result<(), TlsError> {
        let fresh = load(&self.cert, &self.key)?;
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// How a server accepts connections with it.
    #[must_use]
    pub fn server_config(&self) -> ServerConfig {
        // Expect safety: a constant choice; every test of a link would fail.
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has the cipher suites of TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.shown) as Arc<dyn ResolvesServerCert>)
    }
}

fn load(cert: &Path, key_file: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(cert)?;
    let key = key(key_file)?;
    let pair = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            unusable(key_file, format!("is not the key of {}", cert.display()))
        }
        rustls::Error::InvalidCertificate(_) => unusable(
            cert,
            format!("holds as its first certificate what is none: {error}"),
        ),
        error => unusable(
            key_file,
            format!("holds a key that cannot be used: {error}"),
        ),
    })?;
    Ok(Arc::new(pair))
}
