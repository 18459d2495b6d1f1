//! The ledger on MySQL or MariaDB: the conformance suite, and what only a server can show.

mod distance;
mod faults;
mod jobs;
mod locks;
mod prepare;
mod runs;
mod server;

use tasker_testkit::store_suite::model::{self, Rows};

tasker_testkit::store_suite!(server::fresh);
tasker_testkit::accounts_suite!(server::fresh);

/// Without rows of endpoints that were not heard of.
mod unheard {
    use super::server;

    tasker_testkit::unheard_suite!(server::fresh);
}

fn the_store_does_what_the_model_says(rows: Rows, cases: u32) {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mysql/model-seeds.txt");
    model::the_store_does_what_the_model_says(server::fresh, rows, cases, seeds);
}

#[test]
fn a_store_with_rows_does_what_the_model_says() {
    the_store_does_what_the_model_says(Rows::Early, 24);
}

#[test]
fn a_store_without_rows_does_what_the_model_says() {
    the_store_does_what_the_model_says(Rows::Late, 24);
}
