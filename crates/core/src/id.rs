//! Numbers and identities that tasker itself hands out.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new identity (UUID version 7: later ones sort after earlier ones).
            #[must_use]
            pub fn mint() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

uuid_id! {
    /// A task, everywhere outside SQL. Minted when the task is accepted, never repeated, even when a
    /// restored backup repeats the integers.
    TaskUid
}
uuid_id! {
    /// A worker's journal. A new one means that the worker no longer knows what it ran.
    JournalUid
}
uuid_id! {
    /// One start of a worker.
    BootId
}
uuid_id! {
    /// One API process; the holder of leases.
    ProcessId
}

uuid_id! {
    /// A run of numbered tasks.
    RunUid
}

/// A task's number in SQL and in the original's JSON. Never used to identify a task on the wire.
pub type TaskId = i64;
