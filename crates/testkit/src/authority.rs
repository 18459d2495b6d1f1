//! A private certificate authority, and certificates with every fault that a link must notice.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// An authority with a key of its own.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// From when until when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Now.
    Now,
    /// No more.
    Over,
    /// Not yet.
    Ahead,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate.
    pub cert: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// A new one. Two of the same name are still two.
    ///
    /// # Panics
    /// If there is no randomness.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = params(&[], Validity::Now);
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Its own certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes its own certificate into a folder.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn write(&self, dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, &self.pem).expect("a file");
        path
    }

    /// A server's certificate for these host names and addresses.
    ///
    /// # Panics
    /// If a name is none.
    #[must_use]
    pub fn issue(&self, names: &[&str], validity: Validity) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let params = params(names, validity);
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }
}

fn params(names: &[&str], validity: Validity) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    let (from, until) = match validity {
        Validity::Now => (2000, 2100),
        Validity::Over => (2000, 2001),
        Validity::Ahead => (2099, 2100),
    };
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params
}

impl Pair {
    /// Writes both into a folder, the key for its owner only; replaces what is there. The files are
    /// `server.crt` and `server.key`.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn write(&self, dir: &Path) -> (PathBuf, PathBuf) {
        std::fs::create_dir_all(dir).expect("a folder");
        let (cert, key) = (dir.join("server.crt"), dir.join("server.key"));
        std::fs::write(&cert, &self.cert).expect("a file");
        std::fs::write(&key, &self.key).expect("a file");
        let owner_only = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&key, owner_only).expect("rights");
        (cert, key)
    }
}
