//! `handler.yaml`: how a program is run. Unknown keys and impossible values are refused with the
//! line they stand in, or the key.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::Deserialize;
use tasker_core::schema::PayloadSchema;

/// The protocol between worker and program that this release speaks.
pub(super) const PROTOCOL: u32 = 1;
/// How much of a program's output is logged by default, in bytes.
const OUTPUT_LIMIT: u64 = 1 << 20;
/// The most that may be configured.
const MOST_OUTPUT: u64 = 64 << 20;
/// The longest time-out, in seconds: a week.
const MOST_TIMEOUT_S: u32 = 7 * 24 * 3600;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default = "protocol")]
    protocol: u32,
    description: String,
    #[serde(default = "version")]
    version: String,
    command: Vec<String>,
    #[serde(default)]
    timeout_s: Option<u32>,
    #[serde(default = "output_limit")]
    output_limit_bytes: u64,
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    set: BTreeMap<String, String>,
    #[serde(default)]
    run_as: Option<String>,
    #[serde(default)]
    schema: Option<serde_json::Value>,
}

const fn protocol() -> u32 {
    PROTOCOL
}

fn version() -> String {
    "0".to_owned()
}

const fn output_limit() -> u64 {
    OUTPUT_LIMIT
}

/// A manifest that was read and makes sense in itself.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) description: String,
    pub(super) version: String,
    /// The program, relative to the handler's folder, and its arguments.
    pub(super) command: Vec<String>,
    pub(super) timeout_s: Option<u32>,
    pub(super) output_limit_bytes: u64,
    /// Variables of the worker's environment that the program gets.
    pub(super) env: Vec<String>,
    /// Variables that the program gets besides.
    pub(super) set: BTreeMap<String, String>,
    pub(super) run_as: Option<String>,
    pub(super) schema: Option<PayloadSchema>,
}

/// Reads a manifest.
///
/// # Errors
/// What is wrong, for the administrator.
pub(super) fn parse(text: &str) -> Result<Manifest, String> {
    let raw: Raw = serde_yaml::from_str(text).map_err(|e| e.to_string())?;
    if raw.protocol != PROTOCOL {
        return Err(format!(
            "protocol: {} is unknown, only {PROTOCOL} is",
            raw.protocol
        ));
    }
    let program = raw
        .command
        .first()
        .ok_or("command: the program is missing")?;
    let is_inside = Path::new(program)
        .components()
        .all(|c| matches!(c, Component::Normal(_)));
    if program.is_empty() || !is_inside {
        return Err(format!(
            "command: the program {program:?} must be a path inside the handler's folder, without .."
        ));
    }
    if raw.command.iter().any(|argument| argument.contains('\0')) {
        return Err("command: an argument contains a NUL".to_owned());
    }
    if raw.timeout_s.is_some_and(|s| s == 0 || s > MOST_TIMEOUT_S) {
        return Err(format!("timeout_s: must be 1 to {MOST_TIMEOUT_S}"));
    }
    if raw.output_limit_bytes > MOST_OUTPUT {
        return Err(format!("output_limit_bytes: must be at most {MOST_OUTPUT}"));
    }
    for (key, name) in raw
        .env
        .iter()
        .map(|name| ("env", name))
        .chain(raw.set.keys().map(|name| ("set", name)))
    {
        check_variable(name).map_err(|fault| format!("{key}: {name:?} {fault}"))?;
    }
    if let Some((name, _)) = raw.set.iter().find(|(_, value)| value.contains('\0')) {
        return Err(format!("set: the value of {name:?} contains a NUL"));
    }
    let schema = raw.schema.as_ref().map(PayloadSchema::compile).transpose();
    Ok(Manifest {
        description: raw.description,
        version: raw.version,
        command: raw.command,
        timeout_s: raw.timeout_s,
        output_limit_bytes: raw.output_limit_bytes,
        env: raw.env,
        set: raw.set,
        run_as: raw.run_as,
        schema: schema.map_err(|e| format!("schema: {e}"))?,
    })
}

fn check_variable(name: &str) -> Result<(), &'static str> {
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.is_empty()
        && !name.as_bytes()[0].is_ascii_digit();
    if !is_name {
        return Err("is not the name of a variable");
    }
    if name.starts_with("TASKER_") {
        return Err("belongs to tasker");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "description: x\ncommand: [run, --fast]\n";

    #[test]
    fn what_is_left_out_has_a_default() {
        let manifest = parse(GOOD).unwrap();
        assert_eq!(manifest.command, ["run", "--fast"]);
        assert_eq!(manifest.output_limit_bytes, 1 << 20);
        assert!(manifest.timeout_s.is_none() && manifest.schema.is_none());
    }

    #[test]
    fn faults_name_the_key_or_the_line() {
        for (text, expected) in [
            ("command: [run]\n", "missing field `description`"),
            ("description: x\n", "missing field `command`"),
            (
                "description: x\ncommand: []\n",
                "command: the program is missing",
            ),
            (
                "description: x\ncommand: [/bin/sh]\n",
                "inside the handler's folder",
            ),
            (
                "description: x\ncommand: [../run]\n",
                "inside the handler's folder",
            ),
            (
                "description: x\ncommand: [\"\"]\n",
                "inside the handler's folder",
            ),
            ("description: x\ncommand: run\n", "line 2"),
            ("description: x\ncommand: [run]\ncolour: red\n", "line 3"),
            (
                "description: x\ncommand: [run]\ntimeout_s: 0\n",
                "timeout_s",
            ),
            ("description: x\ncommand: [run]\ntimeout_s: -1\n", "line 3"),
            (
                "description: x\ncommand: [run]\nprotocol: 2\n",
                "protocol: 2 is unknown",
            ),
            (
                "description: x\ncommand: [run]\nenv: [\"A B\"]\n",
                "env: \"A B\"",
            ),
            (
                "description: x\ncommand: [run]\nset: {TASKER_RUN: x}\n",
                "belongs to tasker",
            ),
            (
                "description: x\ncommand: [run]\nschema: {type: nonsense}\n",
                "schema: ",
            ),
            (
                "description: x\ndescription: y\ncommand: [run]\n",
                "duplicate",
            ),
            ("description: x\n\t- y\n", "line 2"),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.contains(expected), "{text:?}: {fault:?}");
        }
    }
}
