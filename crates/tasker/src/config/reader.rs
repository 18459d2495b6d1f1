//! Looks values up and checks their bounds; collects what is wrong instead of stopping at it.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::problem::Problem;
use super::secret::Secret;
use super::source::Source;
use super::types::Credentials;
use super::written::{Lookup, Plain, Written, expand};

/// Reads values of two files that lie over each other. After a problem it goes on with a
/// placeholder; nobody sees it, because a configuration with a problem is never handed out.
pub(super) struct Reader<'a> {
    pub(super) base: Source,
    pub(super) over: Option<Source>,
    pub(super) lookup: &'a dyn Lookup,
    /// Whether a password may stand in the file itself.
    pub(super) inline_secrets: bool,
    pub(super) problems: Vec<Problem>,
}

impl Reader<'_> {
    /// Notes a problem of a key.
    pub(super) fn fault(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.fault_of(&[key.into()], message);
    }

    /// Notes a problem of a key that does not fit together with others: at the place of the first
    /// one that stands in the mode's file, because that is what somebody wrote. In the default only
    /// if the mode's file could not hold it.
    pub(super) fn fault_of(&mut self, keys: &[String], message: impl Into<String>) {
        let key = keys.first().cloned().unwrap_or_default();
        let written = self.over.as_ref().and_then(|over| {
            let stands = keys.iter().find(|key| over.places.has(key));
            Some((
                over,
                stands.or_else(|| (!self.base.places.has(&key)).then_some(&key))?,
            ))
        });
        let (source, at) = written.unwrap_or((&self.base, &key));
        self.problems.push(Problem {
            file: source.name.clone(),
            place: source.places.find(at),
            key,
            message: message.into(),
        });
    }

    /// Whether something was wrong with a key by itself.
    pub(super) fn has_problem(&self, key: &str) -> bool {
        self.problems.iter().any(|problem| problem.key == key)
    }

    /// Looks a value up; `None` if it is not there or bad.
    pub(super) fn value<T: Plain + Clone>(
        &mut self,
        key: &str,
        written: &Option<Written<T>>,
    ) -> Option<T> {
        match written.as_ref()? {
            Written::Value(value) => Some(value.clone()),
            Written::Reference(text) => match expand(text, self.lookup) {
                Ok(text) => {
                    let value = T::from_text(&text);
                    if value.is_none() {
                        self.fault(key, format!("must be {}", T::WHAT));
                    }
                    value
                }
                Err(message) => {
                    self.fault(key, message);
                    None
                }
            },
        }
    }

    /// Whether a text is written and its references can be looked up.
    pub(super) fn can_be_read(&self, written: &Option<Written<String>>) -> bool {
        match written {
            None => false,
            Some(Written::Value(_)) => true,
            Some(Written::Reference(text)) => expand(text, self.lookup).is_ok(),
        }
    }

    /// A value that must be there. After a problem it returns a placeholder.
    pub(super) fn required<T: Plain + Clone + Default>(
        &mut self,
        key: &str,
        written: &Option<Written<T>>,
    ) -> T {
        if written.is_none() {
            self.fault(key, "is missing");
        }
        self.value(key, written).unwrap_or_default()
    }

    pub(super) fn text(&mut self, key: &str, written: &Option<Written<String>>) -> String {
        let before = self.problems.len();
        let text = self.required(key, written);
        if text.is_empty() && self.problems.len() == before {
            self.fault(key, "is empty");
        }
        text
    }

    /// A group that may be left out, but not be there with nothing in it: of a link that was meant to
    /// be encrypted that would make one that is not.
    pub(super) fn group<T>(&mut self, key: &str, group: Option<T>) -> Option<T> {
        let is_written = |over: &Source| over.places.has(key);
        if group.is_none() && self.over.as_ref().is_some_and(is_written) {
            self.fault(key, "has nothing in it: fill it, or leave it out");
        }
        group
    }

    pub(super) fn path(&mut self, key: &str, written: &Option<Written<String>>) -> PathBuf {
        PathBuf::from(self.text(key, written))
    }

    pub(super) fn number(
        &mut self,
        key: &str,
        written: &Option<Written<u64>>,
        bounds: RangeInclusive<u64>,
    ) -> u64 {
        let before = self.problems.len();
        let number = self.required(key, written);
        if self.problems.len() == before && !bounds.contains(&number) {
            self.fault(
                key,
                format!(
                    "must be {} to {}, is {number}",
                    bounds.start(),
                    bounds.end()
                ),
            );
        }
        number.clamp(*bounds.start(), *bounds.end())
    }

    /// Like [`number`](Self::number), for what fits into 32 bits by its bounds.
    pub(super) fn small(
        &mut self,
        key: &str,
        written: &Option<Written<u64>>,
        bounds: RangeInclusive<u64>,
    ) -> u32 {
        u32::try_from(self.number(key, written, bounds)).unwrap_or(u32::MAX)
    }

    /// Like [`number`](Self::number), for counts and sizes.
    pub(super) fn size(
        &mut self,
        key: &str,
        written: &Option<Written<u64>>,
        bounds: RangeInclusive<u64>,
    ) -> usize {
        usize::try_from(self.number(key, written, bounds)).unwrap_or(usize::MAX)
    }

    pub(super) fn seconds(
        &mut self,
        key: &str,
        written: &Option<Written<u64>>,
        bounds: RangeInclusive<u64>,
    ) -> Duration {
        Duration::from_secs(self.number(key, written, bounds))
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &str,
        written: &Option<Written<String>>,
        words: &[(&str, T)],
    ) -> T {
        let before = self.problems.len();
        let text = self.text(key, written);
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => *value,
            None => {
                if self.problems.len() == before {
                    let list: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                    self.fault(
                        key,
                        format!("must be one of {}, is {text:?}", list.join(", ")),
                    );
                }
                words[0].1
            }
        }
    }

    pub(super) fn account(
        &mut self,
        above: &str,
        username: &Option<Written<String>>,
        password: &Option<Written<String>>,
    ) -> Credentials {
        let key = format!("{above}.password");
        let username = self.text(&format!("{above}.username"), username);
        if matches!(password, Some(Written::Value(_))) && !self.inline_secrets {
            self.fault(
                &key,
                "is a secret: write ${NAME} or ${file:/path} instead of it",
            );
        }
        Credentials {
            username,
            password: Secret::new(self.text(&key, password)),
        }
    }

    /// Like [`word`](Self::word); the first one if nothing is written.
    pub(super) fn optional_word<T: Copy>(
        &mut self,
        key: &str,
        written: &Option<Written<String>>,
        words: &[(&str, T)],
    ) -> T {
        if written.is_some() {
            self.word(key, written, words)
        } else {
            words[0].1
        }
    }
}
