//! What tasker's tests share: conformance suites of the two ports, builders, private servers.

pub mod accounts_suite;
pub mod authority;
pub mod broker_suite;
pub mod build;
pub mod drill;
pub mod events;
pub mod faultproxy;
pub mod installation;
pub mod jobs_suite;
pub mod log;
pub mod management;
pub mod private_server;
pub mod receiver;
pub mod runs_suite;
pub mod services;
pub mod store_suite;
