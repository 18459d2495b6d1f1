//! The rows of the fault matrix.

mod alarms;
mod broker;
mod change;
mod database;
mod duplicates;
mod edge;
mod full_disk;
mod handlers;
mod network;
mod queues;
mod scale;
mod worker;

use crate::scene::Scene;

/// A row.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name in the matrix.
    pub name: &'static str,
    /// What is done.
    pub fault: &'static str,
    /// What must hold, in one sentence.
    pub promise: &'static str,
    /// Whether it belongs to every test run.
    pub is_quick: bool,
    /// Plays it.
    pub play: fn(&mut Scene<'_>),
}

/// All rows, in the order of the matrix.
#[must_use]
pub fn all() -> Vec<Row> {
    [
        broker::ROWS,
        network::ROWS,
        alarms::ROWS,
        queues::ROWS,
        database::ROWS,
        worker::ROWS,
        duplicates::ROWS,
        handlers::ROWS,
        full_disk::ROWS,
        edge::ROWS,
        change::ROWS,
        scale::ROWS,
    ]
    .concat()
}
