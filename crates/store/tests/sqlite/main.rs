//! The ledger on SQLite: the conformance suite, and what only a file can show.

mod file;
mod jobs;
mod prepare;
mod runs;

use tasker_testkit::store_suite::model::{self, Rows};

tasker_testkit::store_suite!(file::fresh);
tasker_testkit::accounts_suite!(file::fresh);

/// Without rows of endpoints that were not heard of.
mod unheard {
    use super::file;

    tasker_testkit::unheard_suite!(file::fresh);
}

fn the_store_does_what_the_model_says(rows: Rows, cases: u32) {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sqlite/model-seeds.txt");
    model::the_store_does_what_the_model_says(file::fresh, rows, cases, seeds);
}

#[test]
fn a_store_with_rows_does_what_the_model_says() {
    the_store_does_what_the_model_says(Rows::Early, 40);
}

#[test]
fn a_store_without_rows_does_what_the_model_says() {
    the_store_does_what_the_model_says(Rows::Late, 40);
}
