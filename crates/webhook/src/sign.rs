//! What a receiver verifies: `Tasker-Signature: t=<unix time>,v1=<hex>`, an HMAC-SHA256 of the time as it
//! stands there, a full stop, and the body.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The secret that a receiver shares.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Key {
    /// A key of any length.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        // Expect safety: HMAC takes keys of any length.
        Self(Hmac::new_from_slice(secret).expect("a key"))
    }

    /// The value of the header.
    #[must_use]
    pub fn signature(&self, unix_time: u64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(unix_time.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        let mut value = format!("t={unix_time},v1=");
        for byte in mac.finalize().into_bytes() {
            value.push_str(&format!("{byte:02x}"));
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compared with `printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 'a secret of the receiver'`.
    #[test]
    fn the_signature_is_that_of_openssl() {
        let key = Key::new(b"a secret of the receiver");
        assert_eq!(
            key.signature(1_700_000_000, br#"{"a":1}"#),
            "t=1700000000,v1=719d43160dd8091f1cdca2473a26871d7f4f701b9c72dd2391c6e537c2ec685b"
        );
        assert_ne!(
            key.signature(1_700_000_001, br#"{"a":1}"#)[13..],
            key.signature(1_700_000_000, br#"{"a":1}"#)[13..]
        );
        assert_eq!(format!("{key:?}"), "***");
    }
}
