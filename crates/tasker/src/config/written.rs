//! Values as they are written: themselves, or with references to the environment or a file.
//!
//! References are looked up only when the role that runs needs the value, so that an endpoint's host
//! can read the same file as the API without knowing the database's password.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A value of a configuration file before its references are looked up.
#[derive(Clone)]
pub(super) enum Written<T> {
    /// Itself.
    Value(T),
    /// A text with `${…}` in it.
    Reference(String),
}

/// What a configuration value can be.
pub(super) trait Plain: Sized {
    /// What it is called in messages.
    const WHAT: &'static str;
    /// Whether every scalar is read as a text.
    const IS_TEXT: bool = false;
    /// Reads it from a text.
    fn from_text(text: &str) -> Option<Self>;
    /// Reads it from a YAML boolean.
    fn from_bool(_: bool) -> Option<Self> {
        None
    }
    /// Reads it from a YAML number.
    fn from_number(_: u64) -> Option<Self> {
        None
    }
}

impl Plain for String {
    const WHAT: &'static str = "a text";
    const IS_TEXT: bool = true;
    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Plain for u64 {
    const WHAT: &'static str = "a whole number";
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn from_number(number: u64) -> Option<Self> {
        Some(number)
    }
}

impl Plain for bool {
    const WHAT: &'static str = "true or false";
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn from_bool(value: bool) -> Option<Self> {
        Some(value)
    }
}

struct Scalar<T>(PhantomData<T>);

impl<T: Plain> Visitor<'_> for Scalar<T> {
    type Value = Written<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WHAT)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        T::from_bool(value)
            .map(Written::Value)
            .ok_or_else(|| E::custom(format_args!("must be {}", T::WHAT)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        T::from_number(value)
            .map(Written::Value)
            .ok_or_else(|| E::custom(format_args!("must be {}", T::WHAT)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if text.contains("${") {
            return Ok(Written::Reference(text.to_owned()));
        }
        // Only a text is read from a text: `port: "8888"` is a slip that should be seen.
        if T::IS_TEXT
            && let Some(value) = T::from_text(text)
        {
            return Ok(Written::Value(value));
        }
        Err(E::custom(format_args!("must be {}", T::WHAT)))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Err(E::custom(format_args!(
            "must be {}, and not negative",
            T::WHAT
        )))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Err(E::custom(format_args!("must be {}", T::WHAT)))
    }
}

impl<'de, T: Plain> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if T::IS_TEXT {
            deserializer.deserialize_str(Scalar(PhantomData))
        } else {
            deserializer.deserialize_any(Scalar(PhantomData))
        }
    }
}

/// Where references are looked up.
pub(super) trait Lookup {
    /// The environment variable of that name.
    fn variable(&self, name: &str) -> Option<String>;
    /// The content of a file.
    fn file(&self, path: &str) -> std::io::Result<String>;
}

/// The process's own environment and files.
pub(super) struct RealLookup;

impl Lookup for RealLookup {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
    fn file(&self, path: &str) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }
}

/// Replaces `${NAME}`, `${NAME:-default}` and `${file:/path}` in a text; `$${` stands for `${`.
///
/// # Errors
/// What is wrong with the first bad reference; never the text around it, which may be a secret.
pub(super) fn expand(text: &str, lookup: &dyn Lookup) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let end = inner.find('}').ok_or("has a ${ without a }")?;
        out.push_str(&reference(&inner[..end], lookup)?);
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn reference(inner: &str, lookup: &dyn Lookup) -> Result<String, String> {
    if let Some(path) = inner.strip_prefix("file:") {
        return match lookup.file(path) {
            // Editors and `echo` end a file with a line break that is not part of the secret.
            Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
            Err(error) => Err(format!("refers to the file {path}: {error}")),
        };
    }
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if !is_name {
        return Err(format!(
            "has a bad reference ${{{}}}; write ${{NAME}}, ${{NAME:-default}} or ${{file:/path}}",
            name.escape_default()
        ));
    }
    match (lookup.variable(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "refers to the environment variable {name}, which is not set"
        )),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::collections::HashMap;

    pub(crate) struct MapLookup(pub(crate) HashMap<&'static str, &'static str>);

    impl Lookup for MapLookup {
        fn variable(&self, name: &str) -> Option<String> {
            self.0.get(name).map(|v| (*v).to_owned())
        }
        fn file(&self, path: &str) -> std::io::Result<String> {
            match path {
                "/run/secret" => Ok("s3cret\n".to_owned()),
                _ => Err(std::io::ErrorKind::NotFound.into()),
            }
        }
    }

    #[test]
    fn references_are_looked_up() {
        let lookup = MapLookup(HashMap::from([("A", "1"), ("EMPTY", "")]));
        for (text, value) in [
            ("plain $A", Ok("plain $A")),
            ("x${A}y${A}", Ok("x1y1")),
            ("${B:-2}", Ok("2")),
            ("${EMPTY:-2}", Ok("2")),
            ("${EMPTY}", Ok("")),
            ("${B:-}", Ok("")),
            ("$${A}", Ok("${A}")),
            ("${file:/run/secret}", Ok("s3cret")),
            ("${B}", Err("environment variable B, which is not set")),
            ("${B", Err("without a }")),
            ("${}", Err("bad reference")),
            ("${1A}", Err("bad reference")),
            ("${A-B}", Err("bad reference")),
            ("${file:/nothing}", Err("the file /nothing")),
        ] {
            match (expand(text, &lookup), value) {
                (Ok(got), Ok(wanted)) => assert_eq!(got, wanted, "{text}"),
                (Err(got), Err(part)) => assert!(got.contains(part), "{text}: {got}"),
                (got, wanted) => panic!("{text}: {got:?}, not {wanted:?}"),
            }
        }
    }
}
