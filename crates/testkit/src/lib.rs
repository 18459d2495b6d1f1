//! tasker
