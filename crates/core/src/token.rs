//! Tokens: what a program shows to say who it is.
//!
//! `tsk_<key>_<secret><check>`: the key (12 characters) finds the token, the secret (43 characters, 32
//! random bytes) proves it, the check (6 characters, CRC-32 of everything before) lets programs that look
//! for leaked secrets tell a token from noise, and garbage be refused without a look into the database.
//! Only the SHA-256 of the secret is stored: it has 256 random bits, so that a slow hash adds nothing
//! (OWASP ASVS 5.0, 6.5.2).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What every token begins with.
pub const TOKEN_PREFIX: &str = "tsk_";

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 71 random bits: enough to never meet another token's.
const KEY_LENGTH: usize = 12;
/// 32 bytes.
const SECRET_LENGTH: usize = 43;
/// 32 bits.
const CHECK_LENGTH: usize = 6;

/// What finds a token; no secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenKey(Arc<str>);

/// A text that is no [`TokenKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be {KEY_LENGTH} letters and digits, as `tasker token list` shows them")]
pub struct NoTokenKey;

impl TokenKey {
    /// Checks the text and makes it a key.
    ///
    /// # Errors
    /// [`NoTokenKey`].
    pub fn parse(text: &str) -> Result<Self, NoTokenKey> {
        let is_key = text.len() == KEY_LENGTH && text.bytes().all(|b| b.is_ascii_alphanumeric());
        is_key.then(|| Self(text.into())).ok_or(NoTokenKey)
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TokenKey {
    type Error = NoTokenKey;
    fn try_from(text: String) -> Result<Self, NoTokenKey> {
        Self::parse(&text)
    }
}

impl From<TokenKey> for String {
    fn from(key: TokenKey) -> Self {
        key.0.as_ref().to_owned()
    }
}

impl std::str::FromStr for TokenKey {
    type Err = NoTokenKey;
    fn from_str(text: &str) -> Result<Self, NoTokenKey> {
        Self::parse(text)
    }
}

impl fmt::Display for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SHA-256 of a token's secret: what is stored.
pub type SecretHash = [u8; 32];

/// A token as its holder has it. `Debug` shows its key only.
#[derive(Clone)]
pub struct Token {
    /// What finds it.
    pub key: TokenKey,
    /// What proves it, hashed.
    pub hash: SecretHash,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.key)
    }
}

impl Token {
    /// A new token and its text, which is shown once and kept nowhere.
    #[must_use]
    pub fn mint() -> (Self, String) {
        let digits = |length| -> String {
            let random = (0..length).map(|_| DIGITS[rand::random_range(0..DIGITS.len())]);
            random.map(char::from).collect()
        };
        let (key, secret) = (digits(KEY_LENGTH), digits(SECRET_LENGTH));
        let text = format!("{TOKEN_PREFIX}{key}_{secret}");
        let text = format!("{text}{}", check(&text));
        let token = Self {
            key: TokenKey(key.into()),
            hash: Sha256::digest(secret.as_bytes()).into(),
        };
        (token, text)
    }

    /// Reads a token's text. `None`: it is none.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (key, rest) = text.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
        if rest.len() != SECRET_LENGTH + CHECK_LENGTH || !rest.is_ascii() {
            return None;
        }
        let (secret, told) = rest.split_at(SECRET_LENGTH);
        let (checked, _) = text.split_at(text.len() - CHECK_LENGTH);
        let is_whole = secret.bytes().all(|b| b.is_ascii_alphanumeric()) && check(checked) == told;
        Some(Self {
            key: TokenKey::parse(key).ok().filter(|_| is_whole)?,
            hash: Sha256::digest(secret.as_bytes()).into(),
        })
    }

    /// Whether a stored hash is this token's. Takes the same time for every hash.
    #[must_use]
    pub fn is(&self, stored: &SecretHash) -> bool {
        let differing = self.hash.iter().zip(stored).map(|(a, b)| a ^ b);
        differing.fold(0, |all, byte| all | byte) == 0
    }
}

fn check(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes()) as usize;
    let mut check = [DIGITS[0]; CHECK_LENGTH];
    for digit in check.iter_mut().rev() {
        *digit = DIGITS[rest % DIGITS.len()];
        rest /= DIGITS.len();
    }
    check.map(char::from).iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_minted() {
        let (token, text) = Token::mint();
        assert_eq!(
            text.len(),
            4 + KEY_LENGTH + 1 + SECRET_LENGTH + CHECK_LENGTH
        );
        let read = Token::read(&text).unwrap();
        assert_eq!(read.key, token.key);
        assert!(read.is(&token.hash));
        let (other, _) = Token::mint();
        assert!(!other.is(&token.hash));
        assert_ne!(other.key, token.key);
    }

    #[test]
    fn no_character_may_change() {
        let (_, text) = Token::mint();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(Token::read(&changed).is_none(), "{at}");
        }
        for text in [
            "",
            "tsk_",
            "tsk__",
            &text[..text.len() - 1],
            &format!("{text}0"),
        ] {
            assert!(Token::read(text).is_none(), "{text}");
        }
        assert!(Token::read(&format!("tsk_{}_{}", "é".repeat(6), "é".repeat(24))).is_none());
    }

    #[test]
    fn debug_shows_no_secret() {
        let (token, text) = Token::mint();
        let secret = text.rsplit('_').next().unwrap();
        assert!(!format!("{token:?}").contains(&secret[..10]));
    }
}
