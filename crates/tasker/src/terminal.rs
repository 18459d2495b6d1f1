//! What is printed: harmless text, pretty JSON, and no panic when nobody reads it.

use std::io::{self, ErrorKind, Write};

pub use tasker_core::harmless::harmless;
use tasker_core::harmless::{is_harmful, json_escape};

use crate::exit::Failure;

/// Prints a text and a line break to stdout. A reader that went away (`… | head`) is no fault.
///
/// # Errors
/// [`Failure::Failed`] if stdout cannot be written for another reason.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Tells a person something on stderr, beside the result on stdout. If nobody reads it, that is no
/// fault.
pub fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// JSON, indented, with the order of its keys and the digits of its numbers as they are. What could
/// steer the terminal is escaped, so that it is still the same JSON.
#[must_use]
pub fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0usize;
    let mut chars = json.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push('"');
                while let Some(c) = chars.next() {
                    match c {
                        '\\' => {
                            out.push('\\');
                            out.extend(chars.next());
                        }
                        c if is_harmful(c) => out.push_str(&json_escape(c)),
                        c => out.push(c),
                    }
                    if c == '"' {
                        break;
                    }
                }
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                if let Some(end) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(',');
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_otherwise_the_same() {
        let json =
            r#"{"b":1.50,"a":{"x":[],"y":[1,{"z":"a\"}:,"}],"o":{ }}, "n":123456789012345678901}"#;
        assert_eq!(
            pretty(json),
            "{\n  \"b\": 1.50,\n  \"a\": {\n    \"x\": [],\n    \"y\": [\n      1,\n      {\n        \
             \"z\": \"a\\\"}:,\"\n      }\n    ],\n    \"o\": {}\n  },\n  \
             \"n\": 123456789012345678901\n}"
        );
        let before: serde_json::Value = serde_json::from_str(json).unwrap();
        let after: serde_json::Value = serde_json::from_str(&pretty(json)).unwrap();
        assert_eq!(before, after);
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(
            harmless("a\u{1b}[2Jb\r\n\u{202e}é"),
            "a\\u{1b}[2Jb\\r\\n\\u{202e}é"
        );
        assert_eq!(pretty("\"\u{9b}2J\u{202e}é\""), "\"\\u009b2J\\u202eé\"");
    }
}
