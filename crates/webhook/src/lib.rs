//! Tells completions to callback URLs (rule 24: nobody makes tasker call where it should not).
//!
//! One try is one connection, made for it and closed after it. The name is resolved once, every address of
//! it must be public, and the connection goes to one of those very addresses; there are no redirects, no
//! proxies and no cookies because there is no code for them. All of it together has five seconds.
//!
//! # Layout
//!
//! * [`sign`]: what a receiver verifies
//! * `reach`: from a host to a connection
//! * `exchange`: the request, and as much of the answer as matters
//! * `tls`: whose certificates are believed

mod exchange;
mod reach;
pub mod sign;
mod tls;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tasker_core::callback::{AllowList, CallbackUrl};
use tasker_core::harmless::harmless;
use tasker_core::notice::{Answer, Errand, Messenger};
use tokio::time::timeout;

pub use reach::{Resolve, SystemResolver};
use sign::Key;
pub use tls::CaError;
use tls::Trust;

/// How long one try may take, from the look-up of the name to the end of the answer.
pub const WITHIN: Duration = Duration::from_secs(5);

/// What a sender is told.
pub struct Settings {
    /// Where it may call.
    pub allow: AllowList,
    /// What notices are signed with.
    pub secret: String,
    /// The file of the certification authorities that are believed, PEM; `None`: the system's.
    pub ca: Option<PathBuf>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("allow", &self.allow)
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}

/// Carries notices to their receivers.
pub struct Sender {
    allow: AllowList,
    key: Key,
    trust: Trust,
    resolver: Arc<dyn Resolve>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("allow", &self.allow)
            .finish_non_exhaustive()
    }
}

/// Why a try failed. Safe to show to the client whose URL it is: nothing of what a receiver said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("the URL is not allowed (any more)")]
    NotAllowed,
    #[error("the name could not be resolved: {0}")]
    Unresolved(String),
    #[error("the name leads to an address that is not public")]
    NotPublic,
    #[error("no connection: {0}")]
    Unreachable(String),
    #[error("no trust: {0}")]
    Untrusted(String),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("the answer is no HTTP")]
    NoHttp,
    #[error("no answer within {} s", WITHIN.as_secs())]
    Late,
}

impl Sender {
    /// A sender that asks the system for names.
    ///
    /// # Errors
    /// [`CaError`] if there is nobody to believe.
    pub fn new(settings: Settings) -> Result<Self, CaError> {
        Self::with_resolver(settings, Arc::new(SystemResolver))
    }

    /// As [`Sender::new`], with a resolver of the caller's.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn with_resolver(settings: Settings, resolver: Arc<dyn Resolve>) -> Result<Self, CaError> {
        Ok(Self {
            allow: settings.allow,
            key: Key::new(settings.secret.as_bytes()),
            trust: Trust::new(settings.ca.as_deref())?,
            resolver,
        })
    }

    async fn try_once(&self, errand: &Errand) -> Result<u16, Trouble> {
        // The list may have changed since the URL was accepted.
        let url = CallbackUrl::parse(&errand.url).map_err(|_| Trouble::NotAllowed)?;
        let origin = url.origin();
        if !self.allow.allows(origin) {
            return Err(Trouble::NotAllowed);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        let head = exchange::head(&url, errand, &self.key.signature(now, &errand.body));
        let connection = reach::connect(origin, &*self.resolver).await?;
        if origin.is_tls() {
            let connection = self.trust.encrypt(origin.host(), connection).await?;
            exchange::exchange(connection, &head, &errand.body).await
        } else {
            exchange::exchange(connection, &head, &errand.body).await
        }
    }
}

#[async_trait]
impl Messenger for Sender {
    async fn tell(&self, errand: &Errand) -> Answer {
        let tried = timeout(WITHIN, self.try_once(errand)).await;
        match tried.unwrap_or(Err(Trouble::Late)) {
            Ok(status) => Answer {
                status: Some(status),
                error: refusal(status),
            },
            Err(trouble) => Answer {
                status: None,
                error: Some(harmless(&trouble.to_string())),
            },
        }
    }
}

/// Why an answer is none that the receiver has it.
fn refusal(status: u16) -> Option<String> {
    match status {
        200..=299 => None,
        300..=399 => Some(format!("answered {status}: redirects are not followed")),
        410 => Some("answered 410: it wants no more".to_owned()),
        _ => Some(format!("answered {status}")),
    }
}
