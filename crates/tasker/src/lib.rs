//! tasker's programs: configuration, logs, commands, and the one place that names concrete backends.

pub mod config;
