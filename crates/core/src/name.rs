//! Names: task types, endpoints, identifiers, clients.
//!
//! Every name is checked once, where it enters, and compared byte by byte ever after. The patterns
//! keep names free of what has a meaning elsewhere: no slash (URLs), no `*` or `#` (topic keys), no
//! space or control character (logs, databases that pad).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::TaskUid;

/// A name that breaks its pattern. The message says what is allowed and is safe to show to clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The characters or the length are not allowed.
    #[error("must match {pattern}")]
    Pattern {
        /// The pattern that is allowed, as a regular expression.
        pattern: &'static str,
    },
    /// The name is a word of tasker's own URLs or exchanges.
    #[error("{name:?} is a reserved word")]
    Reserved {
        /// The refused name.
        name: String,
    },
}

/// The pattern of a [`TaskType`].
pub const TASK_TYPE_PATTERN: &str = "^[a-z][a-z0-9_-]{0,62}$";
/// The pattern of an [`EndpointName`], an [`Identifier`] and a [`Client`].
pub const NAME_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$";

/// Words that cannot be task types: they stand where a task type stands, in a URL (`/<type>`) or in
/// the name of an exchange or queue (`P.<type>`). Words of coming modules are reserved from the
/// first release, so that an upgrade never takes a configured type away.
pub const RESERVED_TASK_TYPES: &[&str] = &[
    "action",
    "actions",
    "api",
    "audit",
    "client",
    "clients",
    "complete",
    "dead",
    "docs",
    "endpoint",
    "endpoints",
    "events",
    "healthz",
    "inbox",
    "info",
    "job",
    "jobs",
    "login",
    "logout",
    "meta",
    "metrics",
    "openapi",
    "plugin",
    "plugins",
    "pluginservice",
    "pluginservices",
    "presence",
    "process",
    "queue",
    "queues",
    "readyz",
    "register",
    "reports",
    "run",
    "runs",
    "session",
    "sessions",
    "static",
    "status",
    "sub",
    "token",
    "tokens",
    "ui",
    "user",
    "users",
    "webhook",
    "webhooks",
    "worker-api",
    "workers",
];

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=128).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn check_name(text: &str) -> Result<(), NameError> {
    if is_name(text) {
        Ok(())
    } else {
        Err(NameError::Pattern {
            pattern: NAME_PATTERN,
        })
    }
}

fn check_task_type(text: &str) -> Result<(), NameError> {
    let bytes = text.as_bytes();
    let allowed = (1..=63).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    if !allowed {
        return Err(NameError::Pattern {
            pattern: TASK_TYPE_PATTERN,
        });
    }
    if RESERVED_TASK_TYPES.contains(&text) {
        return Err(NameError::Reserved {
            name: text.to_owned(),
        });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        ///
        /// Cheap to clone: all clones share one allocation.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and makes it a name.
            ///
            /// # Errors
            /// [`NameError`] if the text breaks the pattern.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name! {
    /// A configured kind of task; one fanout exchange each. `[a-z][a-z0-9_-]{0,62}`, and not one of
    /// [`RESERVED_TASK_TYPES`].
    TaskType, check_task_type
}
name! {
    /// The name of an endpoint, a host. `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`.
    EndpointName, check_name
}
name! {
    /// The client's own identifier of a task: an idempotency key, unique per client and task type.
    /// `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`.
    Identifier, check_name
}
name! {
    /// Who asked: the name of a user.
    Client, check_name
}

impl From<TaskUid> for Identifier {
    /// Of a task that tasker itself asks for.
    fn from(uid: TaskUid) -> Self {
        Self(uid.0.to_string().into())
    }
}

impl Client {
    /// The one client where nobody says who they are (`api.auth: none`).
    #[must_use]
    pub fn local() -> Self {
        Self("local".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_original_are_allowed() {
        for text in [
            "console1",
            "e7bd91d0-16ad-11e2-892e-0800200c9a66",
            "a",
            "A.b_c-9",
        ] {
            assert_eq!(Identifier::parse(text).unwrap().as_str(), text);
        }
        assert!(Identifier::parse(&"a".repeat(128)).is_ok());
    }

    #[test]
    fn names_with_a_meaning_elsewhere_are_refused() {
        let long = "a".repeat(129);
        for text in [
            "",
            ".",
            "..",
            "../..",
            "%2e%2e",
            "a/b",
            "a\0",
            "a\n",
            "a b",
            "console1 ",
            "-a",
            "_a",
            "\u{202e}a",
            "é",
            "a*",
            "#",
            &long,
        ] {
            assert!(EndpointName::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn task_types_are_lower_case_and_not_reserved() {
        for text in ["worker", "backup", "a", "os-update_2"] {
            assert!(TaskType::parse(text).is_ok(), "{text:?}");
        }
        for text in [
            "",
            "Worker",
            "1a",
            "a.b",
            "amq.default",
            "inbox",
            "api",
            "healthz",
            ".*",
        ] {
            assert!(TaskType::parse(text).is_err(), "{text:?}");
        }
        assert!(TaskType::parse(&"a".repeat(64)).is_err());
    }

    #[test]
    fn json_refuses_what_parse_refuses() {
        assert!(serde_json::from_str::<EndpointName>("\"a/b\"").is_err());
        assert_eq!(
            serde_json::to_string(&EndpointName::parse("a").unwrap()).unwrap(),
            "\"a\""
        );
    }
}
