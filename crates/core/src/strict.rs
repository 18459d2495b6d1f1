//! JSON as tasker reads it: bounded depth, no key twice.
//!
//! Two parsers that disagree about a document are a hole (which of two `endpoints` keys counts?), so
//! what could be read in two ways is refused, within payloads too. Bytes that pass are kept as they
//! are; nothing is re-serialised.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// How deep a payload or a reply may nest.
pub const MAX_PAYLOAD_DEPTH: usize = 32;

/// JSON that is refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at line {line} column {column}")]
pub struct JsonFault {
    /// What is wrong, without the position.
    pub message: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in bytes, from 1; 0 at the start of a line.
    pub column: usize,
}

impl From<serde_json::Error> for JsonFault {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        let position = format!(" at line {} column {}", error.line(), error.column());
        Self {
            message: text.strip_suffix(&position).unwrap_or(&text).to_owned(),
            line: error.line(),
            column: error.column(),
        }
    }
}

/// Checks that the bytes are one JSON document that nests at most `max_depth` arrays and objects and
/// has no key twice in any object.
///
/// # Errors
/// [`JsonFault`] with the first fault and its position.
pub fn check(bytes: &[u8], max_depth: usize) -> Result<(), JsonFault> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Level {
        left: max_depth,
        max_depth,
    }
    .deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(())
}

#[derive(Clone, Copy)]
struct Level {
    left: usize,
    max_depth: usize,
}

impl Level {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, ..self }),
            None => Err(E::custom(format_args!(
                "nests deeper than {}",
                self.max_depth
            ))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut keys: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if !keys.insert(key.clone()) {
                return Err(A::Error::custom(format_args!("duplicate key {key:?}")));
            }
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &[u8]) -> String {
        check(text, 32).unwrap_err().to_string()
    }

    #[test]
    fn plain_json_passes() {
        for text in [
            "{}",
            "[1,-0,1.5,true,null,\"a\\u0000\"]",
            r#"{"a":{"b":[{"a":1}]}}"#,
            " 1 ",
        ] {
            check(text.as_bytes(), 32).unwrap();
        }
    }

    #[test]
    fn what_is_not_one_json_document_is_refused() {
        let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for text in [
            &b""[..],
            b"{",
            b"{} x",
            b"{}{}",
            b"\xef\xbb\xbf{}",
            b"\"\xff\"",
            b"nul",
            b"{'a':1}",
            br#"{"a":1,}"#,
            br#""\ud800""#,
            b"1e999",
            &utf16,
        ] {
            assert!(check(text, 32).is_err(), "{text:?}");
        }
    }

    #[test]
    fn depth_is_bounded_before_memory_is() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        check(nested(32).as_bytes(), 32).unwrap();
        assert!(fault(nested(33).as_bytes()).starts_with("nests deeper than 32 at line 1 column"));
        assert!(fault("[".repeat(1_000_000).as_bytes()).starts_with("nests deeper"));
    }

    #[test]
    fn a_key_twice_is_refused_at_any_depth() {
        assert!(fault(br#"{"a":1,"a":2}"#).starts_with("duplicate key \"a\" at line 1"));
        assert!(fault(br#"{"p":[{"a":1,"\u0061":2}]}"#).starts_with("duplicate key \"a\""));
    }
}
