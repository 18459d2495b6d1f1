//! What tasker's tests share: conformance suites of the two ports, builders, private servers.

pub mod broker_suite;
pub mod build;
pub mod drill;
pub mod faultproxy;
pub mod installation;
pub mod log;
pub mod management;
pub mod private_server;
pub mod runs_suite;
pub mod services;
pub mod store_suite;
