//! The ledger on MySQL or MariaDB: the conformance suite, and what only a server can show.

mod faults;
mod locks;
mod prepare;
mod server;

tasker_testkit::store_suite!(server::fresh);
