//! An error with its causes, for the log.

use std::error::Error;

/// The error and every cause of it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        // Many errors repeat their cause in their own text.
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tasker_core::store::StoreError;

    #[test]
    fn causes_are_told_once() {
        let cause = std::io::Error::other("disk full");
        assert_eq!(
            chain(&StoreError::Unavailable(cause.into())),
            "the database is unavailable: disk full"
        );
        let cause = std::io::Error::other("syntax");
        let refused = StoreError::Refused {
            operation: "create",
            source: cause.into(),
        };
        assert_eq!(chain(&refused), "the database refused create: syntax");
    }
}
