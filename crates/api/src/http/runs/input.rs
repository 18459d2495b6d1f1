//! Reads what clients send about runs: every fault of a body at once.

use bytes::Bytes;
use serde_json::value::RawValue;
use tasker_core::name::Identifier;
use tasker_core::runs::{MAX_RUN_PAYLOADS, MAX_RUN_TASKS, Payloads, RunTaskChange, RunTaskState};

use crate::fault::{Fault, FaultCode, Faults};
use crate::fields::Fields;
use crate::http::query::words;
use crate::validate::name;

/// The longest name of a host, in characters.
const MAX_HOSTNAME: usize = 255;

fn bytes(raw: &RawValue) -> Bytes {
    Bytes::copy_from_slice(raw.get().as_bytes())
}

/// Whether some JSON is as short as it has to be.
fn fits(faults: &mut Faults, field: &str, raw: &RawValue, most: usize) {
    if raw.get().len() > most {
        let message = format!("has {} bytes", raw.get().len());
        let fault = Fault::new(FaultCode::PayloadTooLarge, field, message);
        faults.push(fault.allow(format!("at most {most} bytes")));
    }
}

/// A name of the client's that must be there.
fn demanded_name(fields: &mut Fields<'_>, field: &str) -> Option<Identifier> {
    let text: Option<String> = fields.value(field, "string");
    fields.demand(field, text.is_some());
    let parse = Identifier::parse;
    text.and_then(|text| name(&mut fields.faults, field.to_owned(), &text, parse))
}

/// A number of a range that must be there.
fn demanded_number(fields: &mut Fields<'_>, field: &str, most: i64) -> Option<i64> {
    let number = fields.integer(field);
    fields.demand(field, number.is_some());
    let number = number?;
    if !(0..=most).contains(&number) {
        let fault = Fault::new(FaultCode::OutOfBounds, field, "is out of its bounds");
        fields.faults.push(fault.allow(format!("0..={most}")));
        return None;
    }
    Some(number)
}

/// What was read, unless something was wrong.
fn whole<T>(fields: Fields<'_>, known: &[&str], value: Option<T>) -> Result<T, Faults> {
    let faults = fields.finish(known);
    let value = faults.or(value)?;
    value.ok_or_else(|| Fault::new(FaultCode::WrongType, "", "cannot be read").into())
}

/// The body of a POST of a run: how many tasks, and their payloads.
pub(super) fn run(body: &[u8], max_payload: usize) -> Result<(u32, Payloads), Faults> {
    let mut fields = Fields::read(body)?;
    let num_tasks = demanded_number(&mut fields, "numTasks", i64::from(MAX_RUN_TASKS));
    let num_tasks = num_tasks.and_then(|number| u32::try_from(number).ok());
    let same = fields.raw("payload");
    if let Some(raw) = same {
        fits(&mut fields.faults, "payload", raw, max_payload);
    }
    let each = fields.raws("payloads");
    if let Some(list) = &each {
        for (i, raw) in list.iter().enumerate() {
            let field = format!("payloads[{i}]");
            fits(&mut fields.faults, &field, raw, max_payload);
        }
        let refuse = |message: String| Fault::new(FaultCode::OutOfBounds, "payloads", message);
        if same.is_some() {
            let fault = refuse("is one too many beside payload".to_owned());
            fields.faults.push(fault.allow("payload or payloads"));
        }
        let is_counted = num_tasks.is_none_or(|number| list.len() == number as usize);
        if list.len() > MAX_RUN_PAYLOADS || !is_counted {
            let fault = refuse(format!("has {} items", list.len()));
            let allowed = format!("numTasks items, at most {MAX_RUN_PAYLOADS}");
            fields.faults.push(fault.allow(allowed));
        }
    }
    let payloads = match (same, each) {
        (_, Some(list)) => Payloads::Each(list.into_iter().map(bytes).collect()),
        (Some(raw), None) => Payloads::Same(bytes(raw)),
        (None, None) => Payloads::None,
    };
    let known = ["numTasks", "payload", "payloads"];
    let num_tasks = whole(fields, &known, num_tasks)?;
    Ok((num_tasks, payloads))
}

/// A worker as it makes itself known.
#[derive(Debug)]
pub(super) struct Introduction {
    pub(super) name: Identifier,
    pub(super) hostname: String,
    pub(super) pid: i64,
}

/// The body of a POST of a worker.
pub(super) fn worker(body: &[u8]) -> Result<Introduction, Faults> {
    let mut fields = Fields::read(body)?;
    let name = demanded_name(&mut fields, "uuid");
    let hostname: Option<String> = fields.value("hostname", "string");
    fields.demand("hostname", hostname.is_some());
    if hostname.as_ref().is_some_and(|hostname| {
        hostname.chars().count() > MAX_HOSTNAME || hostname.chars().any(char::is_control)
    }) {
        let fault = Fault::new(FaultCode::OutOfBounds, "hostname", "is not a host's name");
        let allowed = format!("at most {MAX_HOSTNAME} characters, none that controls");
        fields.faults.push(fault.allow(allowed));
    }
    let pid = demanded_number(&mut fields, "pid", i64::from(u32::MAX));
    let read = match (name, hostname, pid) {
        (Some(name), Some(hostname), Some(pid)) => Some(Introduction {
            name,
            hostname,
            pid,
        }),
        _ => None,
    };
    whole(fields, &["uuid", "hostname", "pid"], read)
}

/// The body of a claim: the worker.
pub(super) fn claim(body: &[u8]) -> Result<Identifier, Faults> {
    let mut fields = Fields::read(body)?;
    let name = demanded_name(&mut fields, "worker_uuid");
    whole(fields, &["worker_uuid"], name)
}

/// The body of a change: what, and who wants it, if it says so.
pub(super) fn change(
    body: &[u8],
    max_result: usize,
) -> Result<(RunTaskChange, Option<Identifier>), Faults> {
    let mut fields = Fields::read(body)?;
    let percent: Option<f64> = fields.value("percentCompleted", "number");
    if percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
        let fault = Fault::new(
            FaultCode::BadValue,
            "percentCompleted",
            "is out of its bounds",
        );
        fields.faults.push(fault.allow("0..=100"));
    }
    let word: Option<String> = fields.value("status", "string");
    let state = word.as_deref().map(RunTaskState::from_word);
    if state == Some(None) {
        let fault = Fault::new(FaultCode::UnknownState, "status", "is no state of a task");
        let states = words(RunTaskState::ALL.iter().map(|state| state.as_str()));
        fields.faults.push(fault.allow(states));
    }
    let state = state.flatten();
    let result = fields.raw("result");
    if let Some(raw) = result {
        fits(&mut fields.faults, "result", raw, max_result);
        if state != Some(RunTaskState::Done) {
            let message = "comes with the status `done` only";
            let fault = Fault::new(FaultCode::BadValue, "result", message);
            fields
                .faults
                .push(fault.allow("with `\"status\": \"done\"`"));
        }
    }
    let text: Option<String> = fields.value("worker_uuid", "string");
    let parse = Identifier::parse;
    let worker =
        text.and_then(|text| name(&mut fields.faults, "worker_uuid".to_owned(), &text, parse));
    let known = ["percentCompleted", "status", "result", "worker_uuid"];
    if fields.faults.total() == 0 && percent.is_none() && state.is_none() {
        fields.demand("status", false);
    }
    let change = RunTaskChange {
        percent,
        state,
        result: result.map(bytes),
    };
    Ok((whole(fields, &known, Some(change))?, worker))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T: std::fmt::Debug>(read: Result<T, Faults>) -> (FaultCode, String) {
        let faults = read.unwrap_err();
        let code = faults.decisive().unwrap();
        let told = faults.into_told();
        let field = told.iter().find(|fault| fault.code == code).unwrap();
        (code, field.field.clone())
    }

    #[test]
    fn a_run_needs_a_number_of_tasks() {
        let read = |text: &str| run(text.as_bytes(), 10);
        assert_eq!(read("{\"numTasks\":0}").unwrap(), (0, Payloads::None));
        let huge = read("{\"numTasks\":1000000000}").unwrap();
        assert_eq!(huge.0, MAX_RUN_TASKS);
        for (text, expected, field) in [
            ("{}", FaultCode::MissingField, "numTasks"),
            ("{\"numTasks\":null}", FaultCode::MissingField, "numTasks"),
            ("[]", FaultCode::WrongType, ""),
            ("{\"numTasks\":\"5\"}", FaultCode::WrongType, "numTasks"),
            ("{\"numTasks\":1.5}", FaultCode::WrongType, "numTasks"),
            ("{\"numTasks\":true}", FaultCode::WrongType, "numTasks"),
            ("{\"numTasks\":-1}", FaultCode::OutOfBounds, "numTasks"),
            (
                "{\"numTasks\":1000000001}",
                FaultCode::OutOfBounds,
                "numTasks",
            ),
            (
                "{\"numTasks\":99999999999999999999}",
                FaultCode::OutOfBounds,
                "numTasks",
            ),
            (
                "{\"numTasks\":1,\"uuid\":\"a\"}",
                FaultCode::UnknownField,
                "uuid",
            ),
            (
                "{\"numTasks\":2,\"payloads\":[1]}",
                FaultCode::OutOfBounds,
                "payloads",
            ),
            (
                "{\"numTasks\":1,\"payloads\":{}}",
                FaultCode::WrongType,
                "payloads",
            ),
            (
                "{\"numTasks\":1,\"payloads\":[1],\"payload\":1}",
                FaultCode::OutOfBounds,
                "payloads",
            ),
            (
                "{\"numTasks\":1,\"payloads\":[\"012345678\"]}",
                FaultCode::PayloadTooLarge,
                "payloads[0]",
            ),
        ] {
            assert_eq!(code(read(text)), (expected, field.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_change_is_within_its_bounds() {
        let read = |text: &str| change(text.as_bytes(), 10);
        let (read_change, worker) = read("{\"percentCompleted\":100}").unwrap();
        assert_eq!((read_change.percent, worker), (Some(100.0), None));
        for (text, expected, field) in [
            ("{}", FaultCode::MissingField, "status"),
            (
                "{\"percentCompleted\":-0.1}",
                FaultCode::BadValue,
                "percentCompleted",
            ),
            (
                "{\"percentCompleted\":100.1}",
                FaultCode::BadValue,
                "percentCompleted",
            ),
            ("{\"percentCompleted\":1e999}", FaultCode::MalformedJson, ""),
            (
                "{\"percentCompleted\":\"5\"}",
                FaultCode::WrongType,
                "percentCompleted",
            ),
            ("{\"status\":\"Done\"}", FaultCode::UnknownState, "status"),
            ("{\"status\":1}", FaultCode::WrongType, "status"),
            (
                "{\"status\":\"done\",\"worker\":1}",
                FaultCode::UnknownField,
                "worker",
            ),
            (
                "{\"status\":\"done\",\"worker_uuid\":\"a b\"}",
                FaultCode::BadName,
                "worker_uuid",
            ),
            (
                "{\"percentCompleted\":1,\"result\":1}",
                FaultCode::BadValue,
                "result",
            ),
            (
                "{\"status\":\"done\",\"result\":\"012345678\"}",
                FaultCode::PayloadTooLarge,
                "result",
            ),
        ] {
            assert_eq!(code(read(text)), (expected, field.to_owned()), "{text}");
        }
    }
}
