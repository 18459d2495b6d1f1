//! How completions are told.

use std::sync::Arc;
use std::time::Duration;

use tasker_core::callback::AllowList;
use tasker_core::notice::{Messenger, pause_after};

/// How completions are told.
#[derive(Debug, Clone)]
pub struct Webhooks {
    /// Where.
    pub allow: AllowList,
    /// Who carries them.
    pub messenger: Arc<dyn Messenger>,
    /// How often it is looked for what is due.
    pub tick: Duration,
    /// Tries under way at once.
    pub in_flight: usize,
    /// Tries under way at once for one host.
    pub per_host: u32,
    /// How long a try belongs to the process that began it; longer than one may take.
    pub lease: Duration,
    /// The pause after so many tries that failed, with a number by chance (0 to 1); `None`: no more.
    pub pause_after: fn(u32, f64) -> Option<Duration>,
}

impl Webhooks {
    /// The usual bounds.
    #[must_use]
    pub fn new(allow: AllowList, messenger: Arc<dyn Messenger>) -> Self {
        Self {
            allow,
            messenger,
            tick: Duration::from_millis(500),
            in_flight: 32,
            per_host: 4,
            lease: Duration::from_secs(10),
            pause_after,
        }
    }
}
