//! The configuration: `<mode>.config.yaml` laid over the compiled-in default.
//!
//! In three steps, each with its own types: what is written (`file`), what it means
//! (`resolve`: references looked up, bounds checked), and whether it fits together (`validate`).
//! All problems are collected and told with file, line and column; nothing is guessed.

mod file;
mod problem;
mod reader;
mod resolve;
mod scan;
mod secret;
mod source;
mod types;
mod validate;
mod webhooks;
mod written;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use problem::{ConfigError, Problem};
pub use secret::{DbUri, Secret};
pub use source::DEFAULT;
pub use types::{
    ApiConfig, ApiTls, Auth, Config, Credentials, DbConfig, Kind, LogConfig, LogFormat,
    MessageQueue, QueueType, RabbitmqConfig, RunsConfig, TaskTypeConfig, Unlisted, WebhookConfig,
    WorkerConfig,
};

use source::{DEFAULT_NAME, Source};
use written::{Lookup, RealLookup};

/// Which parts of a configuration a program needs. The others are neither looked up nor checked, so
/// that an endpoint's host can use the same file without the database's password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// What makes `api` reachable by others: `api.tls`, and whether `api.bind` goes without it.
    pub api: bool,
    /// `manager.db`.
    pub db: bool,
    /// `manager.message_queue`, without the account.
    pub message_queue: bool,
    /// The account of `manager.message_queue`.
    pub api_account: bool,
    /// The workers' account: `worker.username` and `worker.password`, or else the API's.
    pub worker_account: bool,
    /// The workers' account, if the references to it can be looked up here.
    pub known_worker_account: bool,
    /// `rabbitmq`.
    pub rabbitmq: bool,
    /// `webhooks`.
    pub webhooks: bool,
}

impl Needs {
    /// Nothing beyond names, bounds and times.
    pub const NOTHING: Self = Self {
        api: false,
        db: false,
        message_queue: false,
        api_account: false,
        worker_account: false,
        known_worker_account: false,
        rabbitmq: false,
        webhooks: false,
    };
    /// `tasker api`.
    pub const API: Self = Self {
        api: true,
        db: true,
        message_queue: true,
        api_account: true,
        webhooks: true,
        ..Self::NOTHING
    };
    /// `tasker-worker`.
    pub const WORKER: Self = Self {
        message_queue: true,
        worker_account: true,
        ..Self::NOTHING
    };
    /// `tasker init` of the broker.
    pub const INIT: Self = Self {
        message_queue: true,
        api_account: true,
        known_worker_account: true,
        rabbitmq: true,
        ..Self::NOTHING
    };
    /// `tasker endpoint`.
    pub const ENDPOINT: Self = Self {
        message_queue: true,
        rabbitmq: true,
        ..Self::NOTHING
    };
    /// Everything: `tasker check-config`.
    pub const ALL: Self = Self {
        api: true,
        db: true,
        message_queue: true,
        api_account: true,
        worker_account: true,
        known_worker_account: false,
        rabbitmq: true,
        webhooks: true,
    };
}

/// Loads the configuration of a mode. `dir` is where its file is looked for; without it `./config`
/// and then `/etc/tasker`.
///
/// # Errors
/// [`ConfigError`] with everything that is wrong.
pub fn load(mode: &str, dir: Option<&Path>, needs: Needs) -> Result<Config, ConfigError> {
    let path = find(mode, dir)?;
    let source = Source::read(&path)?;
    build(mode, Some(source), needs, &RealLookup)
}

/// The compiled-in default by itself.
///
/// # Errors
/// [`ConfigError`] if `needs` asks for something that has no default.
pub fn default(needs: Needs) -> Result<Config, ConfigError> {
    build("default", None, needs, &RealLookup)
}

fn find(mode: &str, dir: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let is_word = !mode.is_empty()
        && mode
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if !is_word {
        let message = format!("mode {mode:?} must consist of letters, digits, _ and -");
        return Err(ConfigError::of_file("--mode", message));
    }
    let dirs = match dir {
        Some(dir) => vec![dir.to_owned()],
        None => vec![PathBuf::from("config"), PathBuf::from("/etc/tasker")],
    };
    let file = format!("{mode}.config.yaml");
    for dir in &dirs {
        let path = dir.join(&file);
        if path.exists() {
            return Ok(path);
        }
    }
    let looked: Vec<_> = dirs.iter().map(|d| d.display().to_string()).collect();
    let message = format!(
        "not found in {}; name its folder with --config",
        looked.join(" or ")
    );
    Err(ConfigError::of_file(file, message))
}

fn build(
    mode: &str,
    over: Option<Source>,
    needs: Needs,
    lookup: &dyn Lookup,
) -> Result<Config, ConfigError> {
    let base = Source::parse(DEFAULT_NAME.to_owned(), DEFAULT)?;
    resolve::resolve(mode, base, over, needs, lookup)
}
