//! The ledger on MySQL or MariaDB: the conformance suite, and what only a server can show.

mod distance;
mod faults;
mod jobs;
mod locks;
mod prepare;
mod runs;
mod server;

tasker_testkit::store_suite!(server::fresh);
tasker_testkit::accounts_suite!(server::fresh);

#[test]
fn the_store_does_what_the_model_says() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mysql/model-seeds.txt");
    tasker_testkit::store_suite::model::the_store_does_what_the_model_says(
        server::fresh,
        24,
        seeds,
    );
}
