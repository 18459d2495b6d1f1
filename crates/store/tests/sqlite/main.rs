//! The ledger on SQLite: the conformance suite, and what only a file can show.

mod file;
mod jobs;
mod prepare;
mod runs;

tasker_testkit::store_suite!(file::fresh);
tasker_testkit::accounts_suite!(file::fresh);
tasker_testkit::model_suite!(file::fresh, 40, "tests/sqlite/model-seeds.txt");

/// Without rows of endpoints that were not heard of.
mod unheard {
    use super::file;

    tasker_testkit::unheard_suite!(file::fresh);
}
