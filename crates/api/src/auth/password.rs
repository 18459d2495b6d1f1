//! Passwords: argon2id with 19 MiB, two passes, one lane, which OWASP's Password Storage Cheat Sheet asks
//! for at least; the hash says its parameters, so that later ones may differ.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tasker_core::accounts::PasswordHash;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The longest password, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 1024;
/// The shortest password, in characters (OWASP ASVS 5.0, 6.2.1).
pub const MIN_PASSWORD_CHARS: usize = 8;

/// Hashes at once. Each takes 19 MiB and a processor for some tens of milliseconds.
const AT_ONCE: usize = 2;
/// How long a request waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(5);

/// Why a password cannot be hashed.
#[derive(Debug, thiserror::Error)]
pub enum BadPassword {
    /// It is too short or too long.
    #[error(
        "a password has at least {MIN_PASSWORD_CHARS} characters and at most {MAX_PASSWORD_BYTES} bytes"
    )]
    Length,
    /// The library refused, or there is no randomness.
    #[error("the password cannot be hashed: {0}")]
    Refused(String),
}

/// Hashes a new password, with a salt of its own.
///
/// # Errors
/// [`BadPassword`].
pub fn hash_password(password: &str) -> Result<PasswordHash, BadPassword> {
    if password.chars().count() < MIN_PASSWORD_CHARS || password.len() > MAX_PASSWORD_BYTES {
        return Err(BadPassword::Length);
    }
    hash(password).map_err(BadPassword::Refused)
}

fn hash(password: &str) -> Result<PasswordHash, String> {
    let hash: phc::PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|e: argon2::password_hash::Error| e.to_string())?;
    Ok(PasswordHash(hash.to_string()))
}

/// The hash that the password of nobody is compared with, so that an unknown user costs as long as a
/// known one.
static NOBODYS: LazyLock<Option<PasswordHash>> = LazyLock::new(|| hash("of nobody").ok());

/// Who compares passwords, a few at a time.
#[derive(Debug)]
pub(crate) struct Passwords(Arc<Semaphore>);

/// The right to compare one password now.
pub(crate) struct Turn(OwnedSemaphorePermit);

/// It took too long until there was a turn.
pub(crate) struct Busy;

impl Default for Passwords {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Passwords {
    /// Waits for a turn.
    pub(crate) async fn turn(&self) -> Result<Turn, Busy> {
        let turn = timeout(TURN_WITHIN, Arc::clone(&self.0).acquire_owned()).await;
        Ok(Turn(turn.map_err(|_| Busy)?.map_err(|_| Busy)?))
    }
}

impl Turn {
    /// Whether a password is the one of the hash. Without a hash it is not, after the same time.
    pub(crate) async fn is(self, password: String, stored: Option<PasswordHash>) -> bool {
        let turn = self.0;
        let compared = tokio::task::spawn_blocking(move || {
            // Held until the processor is free again, also if the request goes away.
            let _turn = turn;
            let is_known = stored.is_some();
            let hash = stored.or_else(|| NOBODYS.clone());
            hash.is_some_and(|hash| matches(&password, &hash)) && is_known
        });
        compared.await.unwrap_or(false)
    }
}

fn matches(password: &str, hash: &PasswordHash) -> bool {
    if password.len() > MAX_PASSWORD_BYTES {
        return false;
    }
    phc::PasswordHash::new(&hash.0).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_hash_is_argon2id_with_the_parameters_that_were_chosen() {
        let hash = hash_password("correct horse").unwrap();
        assert!(
            hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{}",
            hash.0
        );
        assert_ne!(hash.0, hash_password("correct horse").unwrap().0, "salt");
        assert!(matches("correct horse", &hash));
        assert!(!matches("correct horsf", &hash));
        assert!(!format!("{hash:?}").contains("argon2id"));
    }

    #[test]
    fn lengths_are_bounded() {
        for password in ["", "1234567", &"a".repeat(1025)] {
            assert!(matches!(hash_password(password), Err(BadPassword::Length)));
        }
        assert!(hash_password("éééééééé").is_ok());
    }

    #[tokio::test]
    async fn nobodys_password_costs_what_a_wrong_one_does() {
        let passwords = Passwords::default();
        let hash = hash_password("correct horse").unwrap();
        LazyLock::force(&NOBODYS);
        let time = async |stored: Option<PasswordHash>| {
            let mut best = Duration::MAX;
            for _ in 0..5 {
                let start = Instant::now();
                let turn = passwords.turn().await.ok().unwrap();
                assert!(!turn.is("wrong".to_owned(), stored.clone()).await);
                best = best.min(start.elapsed());
            }
            best
        };
        let (known, unknown) = (time(Some(hash)).await, time(None).await);
        let ratio = known.as_secs_f64() / unknown.as_secs_f64();
        assert!((0.5..2.0).contains(&ratio), "{known:?} {unknown:?}");
    }
}
