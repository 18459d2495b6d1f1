//! The ledger on SQLite: the conformance suite, and what only a file can show.

mod file;
mod jobs;
mod prepare;
mod runs;

tasker_testkit::store_suite!(file::fresh);
tasker_testkit::accounts_suite!(file::fresh);

#[test]
fn the_store_does_what_the_model_says() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sqlite/model-seeds.txt");
    tasker_testkit::store_suite::model::the_store_does_what_the_model_says(file::fresh, 40, seeds);
}
