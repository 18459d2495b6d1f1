//! `tasker user`, `tasker token`, `tasker audit`: accounts, by whoever has the database's address.

pub mod args;
pub mod audit;
pub mod token;
pub mod user;

use std::sync::Arc;

use tasker_core::Client;
use tasker_core::accounts::{Accounts, AuditEvent, AuditKind};
use tasker_core::store::StoreError;
use tokio::runtime::Runtime;

use crate::cli::ModeArgs;
use crate::config::{self, Needs};
use crate::exit::Failure;
use crate::wiring;

/// The accounts of an installation.
struct Office {
    accounts: Arc<dyn Accounts>,
    runtime: Runtime,
}

impl Office {
    fn open(mode: &ModeArgs) -> Result<Self, Failure> {
        let needs = Needs {
            db: true,
            ..Needs::NOTHING
        };
        let config = config::load(&mode.mode, mode.config.as_deref(), needs)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::Failed(e.to_string()))?;
        let missing = || Failure::Usage("manager.db is missing".to_owned());
        let db = config.db.as_ref().ok_or_else(missing)?;
        if !runtime.block_on(wiring::schema_is_current(db))? {
            let message = format!(
                "{} has not the schema of this release: run `tasker init`",
                db.uri
            );
            return Err(Failure::Failed(message));
        }
        let opened = runtime.block_on(async { wiring::open_store(db, config.timing) });
        Ok(Self {
            accounts: opened?.accounts,
            runtime,
        })
    }

    /// Does something with the accounts.
    fn with<T>(
        &self,
        act: impl AsyncFnOnce(&dyn Accounts) -> Result<T, StoreError>,
    ) -> Result<T, Failure> {
        Ok(self.runtime.block_on(act(&*self.accounts))?)
    }

    /// Writes down what was done here. Who did it is known to the host, not to tasker.
    fn note(&self, kind: AuditKind, what: String) -> Result<(), Failure> {
        let event = AuditEvent {
            kind,
            who: None,
            token: None,
            what: format!("{what} (command line)"),
            from: None,
        };
        self.with(async |accounts| accounts.note(vec![event]).await)
    }
}

fn no_such_user(name: &Client) -> Failure {
    Failure::Failed(format!("there is no user {name}; see `tasker user list`"))
}
