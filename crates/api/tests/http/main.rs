//! The API process over real HTTP, on SQLite and the in-process broker.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod accounts;
mod app;
mod bad_input;
mod bad_jobs;
mod bad_request;
mod callbacks;
mod changes;
mod cross_origin;
mod faulty;
mod idempotency;
mod jobs;
mod jobs_of_clients;
mod jobs_of_workers;
mod line;
mod log;
mod purging;
mod reading;
mod relaying;
mod reporting;
mod runs;
mod service;
mod unavailable;
mod wire_faults;
mod worker;
