//! Reads query strings: known parameters, each once, each in its bounds.

use std::collections::HashMap;

use actix_web::{HttpRequest, web};
use sha2::{Digest, Sha256};
use tasker_core::name::NAME_PATTERN;
use tasker_core::{Client, ClientScope, ResponseState, TaskStatus};

use super::caller::Caller;
use crate::fault::{Fault, FaultCode, Faults};

/// The parameters of a request.
pub(crate) struct Query(HashMap<String, String>);

impl Query {
    /// Reads them; `known` lists those that the route has.
    pub(crate) fn read(req: &HttpRequest, known: &[&str]) -> Result<Self, Faults> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(req.query_string())
            .map_err(|_| Fault::new(FaultCode::BadParameter, "", "the query cannot be read"))?;
        let mut faults = Faults::default();
        let mut read = HashMap::new();
        for (name, value) in pairs.into_inner() {
            let shown: String = name.chars().take(64).collect();
            if !known.contains(&name.as_str()) {
                let fault = Fault::new(
                    FaultCode::UnknownParameter,
                    shown,
                    "there is no such parameter",
                );
                let allowed = if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                };
                faults.push(fault.allow(allowed));
            } else if read.insert(name, value).is_some() {
                faults.push(Fault::new(FaultCode::BadParameter, shown, "is given twice"));
            }
        }
        faults.or(Self(read))
    }

    /// Checks that there is none.
    pub(crate) fn none(req: &HttpRequest) -> Result<(), Faults> {
        Self::read(req, &[]).map(|_| ())
    }

    fn parsed<T>(
        &self,
        name: &str,
        allowed: impl Fn() -> String,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Faults> {
        let Some(text) = self.0.get(name) else {
            return Ok(None);
        };
        match parse(text) {
            Some(value) => Ok(Some(value)),
            None => {
                let fault = Fault::new(FaultCode::BadParameter, name, "cannot be read");
                Err(fault.allow(allowed()).into())
            }
        }
    }

    /// A whole number from `min`; greater ones than `max` are clamped.
    pub(crate) fn clamped(&self, name: &str, min: u32, max: u32) -> Result<Option<u32>, Faults> {
        let allowed = || format!("{min}..={max}, greater ones count as {max}");
        self.parsed(name, allowed, |text| {
            let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let number = text.parse().unwrap_or(u32::MAX).min(max);
            (is_number && number >= min).then_some(number)
        })
    }

    /// A whole number within bounds.
    pub(crate) fn bounded(&self, name: &str, max: u32) -> Result<Option<u32>, Faults> {
        let fits = |text: &str| text.parse().ok().filter(|number| *number <= max);
        self.parsed(name, || format!("0..={max}"), fits)
    }

    /// Whose things are meant, by the parameter `client`: the caller's own without it. `None`: of somebody
    /// whose things the caller does not see.
    pub(crate) fn scope(&self, caller: &Caller) -> Result<Option<ClientScope>, Faults> {
        let allowed = || NAME_PATTERN.to_owned();
        let client = self.parsed("client", allowed, |text| Client::parse(text).ok())?;
        let own = caller.scope();
        Ok(client.map_or_else(|| own.of(own.client().clone()), |client| own.of(client)))
    }

    /// A parameter as it stands; empty if it is not there.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub(crate) fn status(&self, name: &str) -> Result<Option<TaskStatus>, Faults> {
        let words = || words(TaskStatus::ALL.iter().map(|status| status.as_str()));
        self.parsed(name, words, TaskStatus::from_word)
    }

    pub(crate) fn state(&self, name: &str) -> Result<Option<ResponseState>, Faults> {
        let words = || words(ResponseState::ALL.iter().map(|state| state.as_str()));
        self.parsed(name, words, ResponseState::from_word)
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, Faults> {
        let parse = |text: &str| text.parse::<bool>().ok();
        let flag = self.parsed(name, || "true, false".to_owned(), parse)?;
        Ok(flag.unwrap_or(false))
    }

    /// Where the page before ended.
    pub(crate) fn cursor(&self, name: &str, list: &str) -> Result<Option<i64>, Faults> {
        let allowed = || "the `next` of the page before".to_owned();
        self.parsed(name, allowed, |text| read_cursor(list, text))
    }
}

pub(crate) fn words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// An opaque cursor into a list. Its check ties it to that list: one of another list, or one that
/// was changed, is refused instead of showing a page that nobody asked for. It grants nothing.
pub(crate) fn cursor(list: &str, id: i64) -> String {
    format!("{id:016x}{:08x}", seal(list, id))
}

fn seal(list: &str, id: i64) -> u32 {
    let mut hash = Sha256::new();
    hash.update(b"tasker-cursor-v1\0");
    hash.update(list.as_bytes());
    hash.update(id.to_be_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

fn read_cursor(list: &str, text: &str) -> Option<i64> {
    let id = i64::from_str_radix(text.get(..16)?, 16).ok()?;
    (cursor(list, id) == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_lead_back_to_their_list_only() {
        for id in [0, 1, i64::MAX] {
            let text = cursor("worker", id);
            assert_eq!(read_cursor("worker", &text), Some(id));
            assert_eq!(read_cursor("backup", &text), None);
        }
        let forged = format!("{:016x}{:08x}", 7, 0);
        for text in [
            "",
            "7",
            "x",
            "0000000000000007",
            &forged,
            "é000000000000000000000000",
        ] {
            assert_eq!(read_cursor("worker", text), None, "{text}");
        }
    }
}
