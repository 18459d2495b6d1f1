//! Passwords that do not show themselves.

use std::fmt;

/// A secret. `Debug` never shows it and there is no `Display`: whoever needs it says so by calling
/// [`expose`](Self::expose).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A database URL, which may hold a password. `Debug` and `Display` show it without.
#[derive(Clone, PartialEq, Eq)]
pub struct DbUri(String);

impl DbUri {
    /// Keeps a URL.
    #[must_use]
    pub fn new(uri: impl Into<String>) -> Self {
        Self(uri.into())
    }

    /// The whole URL, for the one place that connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DbUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return f.write_str("***");
        };
        // The last `@`: a password that was not percent-encoded may hold one.
        match rest.rsplit_once('@') {
            Some((user_info, host)) => {
                let user = user_info.split(':').next().unwrap_or_default();
                write!(f, "{scheme}://{user}:***@{host}")
            }
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for DbUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
        for (uri, shown) in [
            (
                "mysql://u:hunter2@db:3306/tasker",
                "mysql://u:***@db:3306/tasker",
            ),
            ("mysql://u:hun@ter2@db/tasker", "mysql://u:***@db/tasker"),
            ("mysql://db/tasker", "mysql://db/tasker"),
            ("sqlite:///var/lib/tasker/db", "sqlite:///var/lib/tasker/db"),
            ("u:hunter2", "***"),
        ] {
            assert_eq!(format!("{:?}", DbUri::new(uri)), shown);
        }
    }
}
