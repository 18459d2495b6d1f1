//! The language of tasker: types, states, messages and the two ports.
//!
//! Nothing in this crate does I/O and nothing needs a runtime. Every other crate speaks in these
//! types, so that a word means the same in Rust, SQL, JSON, logs and documentation.
//!
//! # Layout
//!
//! * [`account`], [`token`]: who may do what, whose things they see, how they say who they are
//! * [`name`], [`id`]: newtypes for everything that has a name or a number
//! * [`state`]: the states of a task and of a task response, and who moves them
//! * [`task`]: what is asked for, what is stored, what is shown
//! * [`wire`]: what travels between the API and the workers
//! * [`route`]: which way a task travels, a pure function
//! * [`settle`]: when a task is finished, a pure function
//! * [`fence`]: which reports are believed, a pure function
//! * [`retry`]: whether a failed attempt is followed by another one, a pure function
//! * [`missing`]: why an answer is missing, a pure function
//! * [`jobs`]: private requests of clients to the server of a datasource, and their port
//! * [`handler`]: the trait that performs tasks
//! * [`runs`]: numbered tasks that workers pull, and their port
//! * [`callback`], [`public`]: which URLs may be called when something completes, and which addresses
//! * [`notice`]: completions that are to be told to such a URL, and the port of their table
//! * [`purge`]: which tasks are old enough to be forgotten
//! * [`store`], [`accounts`], [`broker`]: the ports
//! * [`strict`], [`schema`]: how input is judged
//! * [`backoff`], [`harmless`]: longer waits after failures, text of others that steers nothing
//! * [`errnr`]: the error numbers that the engine itself assigns

pub mod account;
pub mod accounts;
pub mod backoff;
pub mod broker;
pub mod callback;
pub mod errnr;
pub mod fault;
pub mod fence;
pub mod handler;
pub mod harmless;
pub mod id;
pub mod jobs;
pub mod missing;
pub mod name;
pub mod notice;
mod ports;
pub mod public;
pub mod purge;
pub mod retry;
pub mod route;
pub mod runs;
pub mod schema;
pub mod settle;
mod standing;
pub mod state;
pub mod store;
pub mod strict;
pub mod task;
pub mod token;
pub mod wire;

pub use account::ClientScope;
pub use id::{BootId, JournalUid, ProcessId, RunUid, TaskId, TaskUid};
pub use name::{Client, EndpointName, Identifier, NameError, TaskType};
pub use state::{ResponseState, TaskStatus};
