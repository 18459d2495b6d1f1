//! Places where a test build can be made to die or to leave a protection out.
//!
//! The fault drills (`scripts/faults`) build with the feature `faults` and choose by the environment
//! variable `FAILPOINTS` of one process, in the notation of the crate `fail`:
//! `after_claim=50*off->return` dies when the place is reached for the 51st time, `break_fence=return`
//! leaves fencing out. Without the feature all of this is nothing, and compiles to nothing.

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name in `FAILPOINTS`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

names! {
    /// A place between two steps of the line: something was just made durable, and what follows from
    /// it has not happened yet.
    Point {
        /// Step 3: tasks are committed; neither the relay nor the client knows.
        AfterCommit = "after_commit",
        /// Step 4: the broker confirmed; the task is not marked SENT.
        AfterConfirm = "after_confirm",
        /// Step 5: a delivery is read; nothing of it is in the journal.
        BeforeClaim = "before_claim",
        /// Step 6: claims are in the journal; their delivery is not acknowledged.
        AfterClaim = "after_claim",
        /// Step 7: START is in the journal; the handler does not run.
        AfterStart = "after_start",
        /// Step 7: END is in the journal; it is not reported.
        AfterEnd = "after_end",
        /// Step 8: reports are committed; their delivery is not acknowledged.
        AfterRecord = "after_record",
    }
}

names! {
    /// A protection that a drill leaves out, to see that its absence is noticed.
    Protection {
        /// The journal is synced before anything follows from its records.
        JournalFsync = "break_journal_fsync",
        /// A delivery is acknowledged only after its claims are in the journal.
        AckAfterClaim = "break_ack_before_claim",
        /// Reports of older attempts and runs are refused.
        Fence = "break_fence",
        /// The relay publishes what another process stored and did not publish.
        Outbox = "break_outbox",
        /// Endpoints are asked about open rows.
        Ask = "break_ask",
    }
}

/// Arms the places that the environment names. Called once, at the start of a program.
pub fn arm() {
    #[cfg(feature = "faults")]
    std::mem::forget(fail::FailScenario::setup());
}

/// Whether this is a build for drills.
#[must_use]
pub const fn is_armed() -> bool {
    cfg!(feature = "faults")
}

/// Dies here as by SIGKILL, if the environment says so.
#[inline]
pub fn reach(point: Point) {
    #[cfg(feature = "faults")]
    fail::fail_point!(point.as_str(), |_| std::process::abort());
    let _ = point;
}

/// Whether a protection is left out.
#[inline]
#[must_use]
pub fn is_left_out(protection: Protection) -> bool {
    #[cfg(feature = "faults")]
    fail::fail_point!(protection.as_str(), |_| true);
    let _ = protection;
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_out_of_what_is_shipped() {
        assert!(!is_armed());
        assert!(Protection::ALL.iter().all(|p| !is_left_out(*p)));
        Point::ALL.iter().for_each(|point| reach(*point));
    }
}
