//! TLS as every link of tasker uses it: rustls with ring, versions 1.2 and 1.3, always verified.
//!
//! * [`Ca`]: whom a client of ours trusts, and its configuration
//! * [`Identity`]: what a server of ours shows, read again when it is told to
//! * [`reason`]: why a handshake failed, in words for an operator
//!
//! There is no way to switch the verification off.

mod ca;
mod files;
mod identity;
mod reason;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use ca::Ca;
pub use files::TlsError;
pub use identity::Identity;
pub use reason::{Reason, reason};
pub use rustls::{ClientConfig, ServerConfig};

/// The one implementation of cryptography in the programs.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
