//! Drills: each row of the fault matrix breaks something under load and then asks what became of
//! every task. `docs/RELIABILITY.md` holds the promises and the last table.
//!
//! A drill runs the real programs, built with the feature `faults` of `tasker`, on private servers. What
//! the client was told and what the handlers did stands in ledgers of their own
//! (`tasker_testkit::drill`).

pub mod args;
pub mod attribution;
pub mod brokerview;
pub mod collect;
pub mod crowd;
pub mod document;
pub mod fleet;
pub mod handler;
pub mod load;
pub mod outcome;
pub mod rows;
pub mod scene;
pub mod session;
pub mod stage;
pub mod table;
pub mod tap;
