//! The commands of `tasker`, a file each.

pub mod accounts;
pub mod api;
pub mod bench;
pub mod change;
pub mod check_config;
pub mod completions;
pub mod demo;
pub mod endpoint;
pub mod init;
pub mod list;
pub mod purge;
pub mod run;
pub mod show;
pub mod submit;
mod view;
