//! The ledger on SQLite: the conformance suite, and what only a file can show.

mod file;
mod prepare;

tasker_testkit::store_suite!(file::fresh);
