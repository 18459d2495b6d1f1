//! Whom an entry is for.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::name::EndpointName;

/// Whether a list of names has this one. None of them is kept: an envelope for a thousand endpoints tells
/// each of them a thousand names. One that no endpoint can have is nobody's.
///
/// # Errors
/// If it is not a list of texts.
pub(super) fn has(list: &RawValue, name: &EndpointName) -> Result<bool, serde_json::Error> {
    IsAmong(name).deserialize(&mut serde_json::Deserializer::from_str(list.get()))
}

/// Looks for one name in a list.
struct IsAmong<'n>(&'n EndpointName);

impl<'de> DeserializeSeed<'de> for IsAmong<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for IsAmong<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of endpoints")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<bool, A::Error> {
        let mut is_among = false;
        while let Some(is_it) = names.next_element_seed(Is(self.0))? {
            is_among |= is_it;
        }
        Ok(is_among)
    }
}

/// Whether a name is this one.
struct Is<'n>(&'n EndpointName);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an endpoint")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_wherever_it_stands() {
        let name = EndpointName::parse("b").unwrap();
        let found = |text: &str| {
            let list = RawValue::from_string(text.to_owned()).unwrap();
            has(&list, &name).map_err(|e| e.to_string())
        };
        for text in [
            r#"["b"]"#,
            r#"["a","b"]"#,
            r#" [ "b" , "a" ]"#,
            r#"["\u0062"]"#,
        ] {
            assert_eq!(found(text), Ok(true), "{text}");
        }
        for text in ["[]", r#"["a","bb",""]"#, r#"["B"]"#] {
            assert_eq!(found(text), Ok(false), "{text}");
        }
        for text in ["{}", "1", r#""b""#, r#"["b",1]"#, r#"[["b"]]"#] {
            assert!(found(text).is_err(), "{text}");
        }
    }
}
