//! Reads a JSON object field by field, so that one answer names every fault of it.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tasker_core::strict::{self, MAX_PAYLOAD_DEPTH};

use crate::fault::{Fault, FaultCode, Faults};

/// The fields of a body that have not been read yet, and what was wrong with the others.
pub(crate) struct Fields<'a> {
    left: BTreeMap<String, &'a RawValue>,
    pub(crate) faults: Faults,
}

impl<'a> Fields<'a> {
    /// Reads the frame: one JSON object, no deeper than a payload within it, no key twice.
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, Faults> {
        strict::check(body, MAX_PAYLOAD_DEPTH + 1).map_err(|fault| {
            Fault::new(FaultCode::MalformedJson, "", fault.to_string()).allow(format!(
                "one JSON document, at most {MAX_PAYLOAD_DEPTH} levels deep"
            ))
        })?;
        let left = serde_json::from_slice(body).map_err(|_| {
            Fault::new(FaultCode::WrongType, "", "the body must be a JSON object").allow("object")
        })?;
        Ok(Self {
            left,
            faults: Faults::default(),
        })
    }

    /// A field as it was sent; `None` if it is missing or `null`.
    pub(crate) fn raw(&mut self, name: &str) -> Option<&'a RawValue> {
        self.left.remove(name).filter(|raw| raw.get() != "null")
    }

    /// A field of a type; `allowed` says in words which.
    pub(crate) fn value<T: DeserializeOwned>(&mut self, name: &str, allowed: &str) -> Option<T> {
        let raw = self.raw(name)?;
        match serde_json::from_str(raw.get()) {
            Ok(value) => Some(value),
            Err(_) => {
                self.wrong_type(name.to_owned(), allowed);
                None
            }
        }
    }

    /// A list of texts, with their places in it.
    pub(crate) fn texts(&mut self, name: &str) -> Option<Vec<(usize, String)>> {
        let raw = self.raw(name)?;
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
            self.wrong_type(name.to_owned(), "array of strings");
            return None;
        };
        let mut texts = Vec::with_capacity(items.len());
        for (i, item) in items.into_iter().enumerate() {
            match serde_json::from_str(item.get()) {
                Ok(text) => texts.push((i, text)),
                Err(_) => self.wrong_type(format!("{name}[{i}]"), "string"),
            }
        }
        Some(texts)
    }

    /// A list of anything, as it was sent.
    pub(crate) fn raws(&mut self, name: &str) -> Option<Vec<&'a RawValue>> {
        let raw = self.raw(name)?;
        let items = serde_json::from_str(raw.get()).ok();
        if items.is_none() {
            self.wrong_type(name.to_owned(), "array");
        }
        items
    }

    /// Notes a mandatory field that is missing, unless something is wrong with it anyway.
    pub(crate) fn demand(&mut self, name: &str, is_there: bool) {
        if !is_there && !self.faults.tell_of(name) {
            let fault = Fault::new(FaultCode::MissingField, name, "is mandatory");
            self.faults.push(fault);
        }
    }

    /// A whole number. One that no machine word holds is still a number: it is out of bounds, not
    /// of the wrong type, and saturates.
    pub(crate) fn integer(&mut self, name: &str) -> Option<i64> {
        let text = self.raw(name)?.get();
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            self.wrong_type(name.to_owned(), "integer");
            return None;
        }
        let saturated = if digits.len() < text.len() {
            i64::MIN
        } else {
            i64::MAX
        };
        Some(text.parse().unwrap_or(saturated))
    }

    /// Every fault; fields that nobody read are unknown. `known` lists those that exist.
    pub(crate) fn finish(mut self, known: &[&str]) -> Faults {
        for name in self.left.into_keys() {
            // The name is the client's and may be long.
            let name: String = name.chars().take(64).collect();
            let fault = Fault::new(
                FaultCode::UnknownField,
                name.as_str(),
                "there is no such field",
            );
            self.faults.push(fault.allow(known.join(", ")));
        }
        self.faults
    }

    fn wrong_type(&mut self, field: String, allowed: &str) {
        let message = format!("must be: {allowed}");
        self.faults
            .push(Fault::new(FaultCode::WrongType, field, message).allow(allowed));
    }
}
