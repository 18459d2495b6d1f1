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
tasker_testkit::model_suite!(server::fresh, 24, "tests/mysql/model-seeds.txt");

/// Without rows of endpoints that were not heard of.
mod unheard {
    use super::server;

    tasker_testkit::unheard_suite!(server::fresh);
}
