//! The sender against real receivers on loopback: good ones, bad ones, and those that it must not call.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod answers;
mod encrypted;
mod forbidden;
mod receiver;
