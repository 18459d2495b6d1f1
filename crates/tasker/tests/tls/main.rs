//! TLS on every link, between the real programs and real servers: a task goes through all of them, and
//! nobody is talked to who cannot prove its name.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod links;
mod site;
