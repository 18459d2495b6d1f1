//! What a worker refused, counted by reason. For the operator's counters; nothing is decided by it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::WireError;
use crate::errnr;

/// How many of what were refused since the last message that said so. At most 16 reasons, each
/// `[a-z_]{1,32}`.
pub type Refused = BTreeMap<String, u64>;

/// The most reasons that are read from a message.
const MOST_REASONS: usize = 16;
/// The longest reason that is read.
const MOST_LETTERS: usize = 32;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)+) => {
        /// Why a worker did not run what it got. Readers must expect words that are not among these.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum RefusalReason {
            $($(#[$doc])* $variant,)+
        }

        impl RefusalReason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its word on the wire and in counters.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

reasons! {
    /// A message longer than any may be; dead-lettered.
    TooLong = "too_long",
    /// A message that is not JSON as tasker reads it; dead-lettered.
    Malformed = "malformed",
    /// A message without the fields that it needs; dead-lettered.
    Shape = "shape",
    /// A message of an unknown version; dead-lettered.
    Version = "version",
    /// A task of another type.
    NoHandler = "no_handler",
    /// A payload that breaks the handler's schema.
    BadPayload = "bad_payload",
    /// An entry that cannot be understood.
    BadEntry = "bad_entry",
    /// A task that killed its worker too often.
    Poison = "poison",
    /// A task that may not start any more.
    Expired = "expired",
    /// A task whose cancel came before it.
    Cancelled = "cancelled",
    /// An attempt that the journal knows, or an older one: answered, not run. Asks look like this, too.
    Known = "known",
    /// An attempt that the endpoint had under an earlier journal: answered, not run.
    Replayed = "replayed",
}

impl RefusalReason {
    /// The reason that a word of a message names; `None` for a word that this release does not know.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == word)
    }

    /// The reason of a REJECTED report; `None` for numbers that are not of a refusal.
    #[must_use]
    pub const fn of_errnr(errnr: i32) -> Option<Self> {
        Some(match errnr {
            errnr::NO_HANDLER => Self::NoHandler,
            errnr::BAD_PAYLOAD => Self::BadPayload,
            errnr::BAD_ENTRY => Self::BadEntry,
            errnr::UNKNOWN_VERSION => Self::Version,
            errnr::POISON => Self::Poison,
            errnr::EXPIRED => Self::Expired,
            errnr::CANCELLED => Self::Cancelled,
            _ => return None,
        })
    }
}

impl From<&WireError> for RefusalReason {
    fn from(error: &WireError) -> Self {
        match error {
            WireError::TooLong { .. } => Self::TooLong,
            WireError::Malformed(_) => Self::Malformed,
            WireError::Shape(_) => Self::Shape,
            WireError::Version(_) => Self::Version,
        }
    }
}

/// Reads the counts of a message. What breaks their rules is no reason to refuse the message: it
/// counts as nothing.
pub(super) fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Refused, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    let is_word = |word: &String| {
        (1..=MOST_LETTERS).contains(&word.len())
            && word.bytes().all(|b| b == b'_' || b.is_ascii_lowercase())
    };
    let read = serde_json::from_str::<Refused>(raw.get()).ok();
    Ok(read
        .filter(|counts| counts.len() <= MOST_REASONS && counts.keys().all(is_word))
        .unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ReportBatch;

    #[test]
    fn reasons_are_what_a_reader_takes_and_have_the_names_of_the_errors() {
        assert!(RefusalReason::ALL.len() <= MOST_REASONS);
        let all: Refused = RefusalReason::ALL
            .iter()
            .map(|reason| (reason.as_str().to_owned(), 1))
            .collect();
        assert_eq!(read(&serde_json::to_string(&all).unwrap()), all);
        for reason in RefusalReason::ALL {
            assert_eq!(RefusalReason::parse(reason.as_str()), Some(*reason));
        }
        for error in [
            WireError::TooLong { bytes: 2, limit: 1 },
            WireError::Shape(String::new()),
            WireError::Version(2),
        ] {
            assert_eq!(RefusalReason::from(&error).as_str(), error.reason());
        }
    }

    fn read(refused: &str) -> Refused {
        let message = format!(
            r#"{{"v":1,"endpoint":"console1","type":"worker","journal":"0192f0c1-0000-7000-8000-000000000001","boot":"0192f0c1-0000-7000-8000-000000000002","refused":{refused}}}"#
        );
        let batch = ReportBatch::parse(message.as_bytes()).unwrap();
        assert!(batch.is_heartbeat());
        batch.refused
    }

    #[test]
    fn what_breaks_the_rules_counts_as_nothing_and_the_message_stays_good() {
        let many: Vec<_> = (0..17)
            .map(|i| format!("\"{}\":1", "a".repeat(i + 1)))
            .collect();
        for refused in [
            "null",
            "7",
            "[]",
            r#"{"expired":-1}"#,
            r#"{"expired":"1"}"#,
            r#"{"Expired":1}"#,
            r#"{"expired\n":1}"#,
            r#"{"":1}"#,
            r#"{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":1}"#,
            &format!("{{{}}}", many.join(",")),
        ] {
            assert!(read(refused).is_empty(), "{refused}");
        }
        assert_eq!(read(r#"{"later_word":3}"#)["later_word"], 3);
    }
}
