//! tasker's worker: takes tasks from the broker, runs a handler on them, reports what becomes of them.
//!
//! A worker is one task type on one endpoint with one journal. It holds no database credential and
//! declares nothing at the broker; what it must remember it writes to its journal before it acts.
//!
//! # The line
//!
//! * `intake`: the consume loop around
//!   * `take` (step 5): a delivery becomes checked items
//!   * `claim` (step 6): items become journal records, durable before the delivery is acknowledged
//! * `run` (step 7): START on the disk, the handler (`job`), END on the disk; `outcome` judges
//! * `report` (step 8): what became of tasks, one message at a time, until the broker confirms it
//!
//! Beside it: `journal` (the disk), `desk` (queue and runs), `outbox` (what is to be reported), `gate`
//! (welcome and the ledger's clock), `recover` (what an earlier start left), `last_try` (poison told from
//! those beside it), `presence` (heartbeats),
//! `refusals` (counted for the operator).
//!
//! # Handlers
//!
//! Rust code implements [`tasker_core::handler::Handler`]; programs in any language are described by
//! `handlers/<type>/handler.yaml`, see [`external`]; [`stub`] misbehaves on command.

mod claim;
mod desk;
pub mod external;
mod gate;
mod intake;
mod job;
mod journal;
mod last_try;
mod outbox;
mod outcome;
mod presence;
mod recover;
mod refusals;
pub mod registry;
mod report;
mod rest;
mod run;
mod settings;
pub mod stub;
mod take;
mod worker;

pub use journal::JournalError;
pub use last_try::LastTry;
pub use registry::{Registered, Registry};
pub use settings::{Drained, WorkerError, WorkerSettings};
pub use worker::run;
