//! A database, by each of its ports.

use std::fmt;
use std::sync::Arc;

use crate::accounts::Accounts;
use crate::jobs::Jobs;
use crate::notice::Notices;
use crate::runs::Runs;
use crate::store::Store;

/// A database, by each of its ports.
#[derive(Clone)]
pub struct Ports {
    /// Tasks and their responses.
    pub store: Arc<dyn Store>,
    /// Users, tokens, audit.
    pub accounts: Arc<dyn Accounts>,
    /// Jobs and their logs.
    pub jobs: Arc<dyn Jobs>,
    /// Runs and their tasks.
    pub runs: Arc<dyn Runs>,
    /// Completions that are to be told.
    pub notices: Arc<dyn Notices>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ports")
    }
}
