//! Certificates and keys as they stand in files.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A longer file is refused: the system's own collection of authorities has a quarter of that.
const MAX_BYTES: u64 = 1 << 20;

/// Why a file cannot be used. The text never holds a key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It holds something else.
    #[error("{} {what}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The system has no collection of authorities.
    #[error("this system has no certificates of authorities: name a file with yours")]
    NoSystemCa,
}

pub(crate) fn unusable(path: &Path, what: impl Into<String>) -> TlsError {
    TlsError::Unusable {
        path: path.to_owned(),
        what: what.into(),
    }
}

/// The file's text, and who may read it besides its owner and group.
fn read(path: &Path) -> Result<(Vec<u8>, u32), TlsError> {
    let unreadable = |error| TlsError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(unreadable)?;
    // Of the file that is read, whatever the name means a moment later.
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mut text = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_BYTES {
        let what = format!("is larger than {MAX_BYTES} bytes: these are no certificates");
        return Err(unusable(path, what));
    }
    Ok((text, mode & 0o007))
}

/// All certificates of a PEM file; at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let (text, _) = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| unusable(path, format!("is not PEM: {error}")))?;
    if found.is_empty() {
        let what = "holds no certificate: PEM with -----BEGIN CERTIFICATE----- is wanted";
        return Err(unusable(path, what));
    }
    Ok(found)
}

/// The key of a PEM file that only its owner and group may read.
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let (text, others) = read(path)?;
    if others != 0 {
        let what = "is open to every user of this machine: chmod o-rwx it, and replace the key if \
                    others are there";
        return Err(unusable(path, what));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        // The parser's own words may quote a line of the key.
        let what = "holds no private key: PEM with an unencrypted -----BEGIN PRIVATE KEY----- is \
                    wanted";
        unusable(path, what)
    })
}
