//! Whom a client trusts.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use crate::files::{TlsError, certificates, unusable};
use crate::provider;

/// The authorities whose certificates a client takes, and no others. Cheap to clone.
#[derive(Clone)]
pub struct Ca {
    certificates: Arc<Vec<CertificateDer<'static>>>,
    config: Arc<ClientConfig>,
}

impl Ca {
    /// Those of a PEM file.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn read(path: &Path) -> Result<Self, TlsError> {
        let certificates = certificates(path)?;
        let mut roots = RootCertStore::empty();
        for (i, certificate) in certificates.iter().enumerate() {
            roots.add(certificate.clone()).map_err(|error| {
                let what = format!("holds as certificate {} what is none: {error}", i + 1);
                unusable(path, what)
            })?;
        }
        Ok(Self::new(certificates, roots))
    }

    /// Those that this system trusts.
    ///
    /// # Errors
    /// [`TlsError::NoSystemCa`].
    pub fn system() -> Result<Self, TlsError> {
        let certificates = rustls_native_certs::load_native_certs().certs;
        let mut roots = RootCertStore::empty();
        // Among hundreds, some that are too old or too new to be understood.
        let (usable, _) = roots.add_parsable_certificates(certificates.iter().cloned());
        if usable == 0 {
            return Err(TlsError::NoSystemCa);
        }
        Ok(Self::new(certificates, roots))
    }

    fn new(certificates: Vec<CertificateDer<'static>>, roots: RootCertStore) -> Self {
        // Expect safety: a constant choice; every test of a link would fail.
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has the cipher suites of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            certificates: Arc::new(certificates),
            config: Arc::new(config),
        }
    }

    /// How a client connects that trusts nobody else.
    #[must_use]
    pub fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The certificates, each in DER.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(|der| &**der)
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ca({} certificates)", self.certificates.len())
    }
}

impl PartialEq for Ca {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl Eq for Ca {}
