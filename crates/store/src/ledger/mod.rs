//! The operations of the ledger. Compiled twice: `super` is the database that they run on, with
//! its `Conn`, its `now`, `begin`, `insert_…` and its `lock!` macros.
//!
//! Locks are always taken in the same order: the datasource's row with its jobs, the endpoint's row, tasks
//! by id, then responses. Every
//! operation that moves a task or one of its responses holds the task's lock.

mod accounts;
mod asks;
mod cancel;
mod create;
mod deadlines;
mod door;
mod hello;
mod jobs;
mod locked;
mod lost;
mod notices;
mod numbers;
mod open;
mod port;
mod presence;
mod purge;
mod read;
mod record;
mod relay;
mod retry;
mod runs;
mod unheard;

use std::sync::Arc;

use tasker_core::store::Timing;

use super::{
    Conn, Pools, begin, insert_audit, insert_notices, insert_purged, insert_responses,
    insert_run_payloads, insert_run_tasks, insert_tasks, load_responses, now, save_responses,
    save_run_tasks,
};
use crate::clock::Clock;
use crate::options::StoreOptions;

pub(crate) use door::{Access, log_statement};

/// The ledger on this database.
pub(crate) struct Ledger {
    pools: Arc<Pools>,
    timing: Timing,
    limits: door::Limits,
    clock: Clock,
    acquaintances: presence::Acquaintances,
    returned: unheard::Returned,
    numbers: numbers::Numbers,
}

impl Ledger {
    pub(crate) fn new(pools: Pools, options: &StoreOptions) -> Self {
        Self {
            pools: Arc::new(pools),
            timing: options.timing,
            limits: door::Limits::new(options),
            clock: options.clock.clone(),
            acquaintances: presence::Acquaintances::default(),
            returned: unheard::Returned::default(),
            numbers: numbers::Numbers::default(),
        }
    }
}
