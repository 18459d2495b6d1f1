//! A look at a configuration file before YAML does: refuses what only makes it harder to read
//! (tabs, anchors, aliases, tags) and notes on which line each key stands, because the YAML library
//! forgets that once a file is parsed.
//!
//! It knows block style, quotes, comments and block scalars. A key that it does not see (inside
//! `{…}`) is looked for at the line of the key above it.

use std::collections::HashMap;

/// The YAML library takes quadratic time for what nests deeper than anybody writes by hand.
const MAX_FLOW_DEPTH: usize = 64;

/// Where each key stands: `api.port`, `task_types[1].name` → line and column, from 1.
#[derive(Debug, Default)]
pub(super) struct Places(HashMap<String, (usize, usize)>);

impl Places {
    /// The place of a key, or of the nearest key above it that is known.
    pub(super) fn find(&self, key: &str) -> Option<(usize, usize)> {
        let mut key = key;
        loop {
            if let Some(place) = self.0.get(key) {
                return Some(*place);
            }
            key = &key[..key.rfind(['.', '['])?];
        }
    }

    /// Whether the key itself stands in the file.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }
}

/// What is refused, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) place: (usize, usize),
    pub(super) message: &'static str,
}

/// One level of nesting on the way to the present line.
struct Level {
    indent: usize,
    path: String,
    /// `Some` for the items of a list: the number of the item.
    item: Option<usize>,
}

#[derive(Default)]
struct Scan {
    places: HashMap<String, (usize, usize)>,
    levels: Vec<Level>,
    next_item: HashMap<String, usize>,
    /// A quoted text that has not ended yet.
    quote: Option<u8>,
    flow_depth: usize,
    /// Lines that are indented deeper belong to a block scalar.
    block: Option<usize>,
}

/// Looks at a file.
pub(super) fn scan(text: &str) -> Result<Places, Fault> {
    let mut scan = Scan::default();
    for (number, line) in text.lines().enumerate() {
        scan.line(line, number + 1)?;
    }
    Ok(Places(scan.places))
}

impl Scan {
    fn line(&mut self, line: &str, number: usize) -> Result<(), Fault> {
        let indent = line.len() - line.trim_start_matches(' ').len();
        if let Some(block) = self.block {
            if line.trim().is_empty() || indent > block {
                return Ok(());
            }
            self.block = None;
        }
        if self.quote.is_none() && self.flow_depth == 0 {
            self.keys(line, indent, number);
        }
        self.characters(line, indent, number)
    }

    /// Notes the keys and list items that a line begins with.
    fn keys(&mut self, line: &str, indent: usize, number: usize) {
        let mut at = indent;
        while line[at..] == *"-" || line[at..].starts_with("- ") {
            self.levels
                .retain(|l| l.indent < at || (l.indent == at && l.item.is_none()));
            let parent = self.parent();
            let index = self.next_item.entry(parent.clone()).or_default();
            let path = format!("{parent}[{index}]");
            *index += 1;
            self.places.insert(path.clone(), (number, at + 1));
            self.levels.push(Level {
                indent: at,
                path,
                item: Some(*index),
            });
            let rest = &line[at + 1..];
            at += 1 + rest.len() - rest.trim_start_matches(' ').len();
        }
        let rest = &line[at..];
        let Some(colon) = rest.find(':') else { return };
        let (key, after) = (&rest[..colon], &rest[colon + 1..]);
        let is_key = !key.is_empty()
            && key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            && (after.is_empty() || after.starts_with(' '));
        if is_key {
            self.levels.retain(|l| l.indent < at);
            let parent = self.parent();
            let path = if parent.is_empty() {
                key.to_owned()
            } else {
                format!("{parent}.{key}")
            };
            self.places.entry(path.clone()).or_insert((number, at + 1));
            self.levels.push(Level {
                indent: at,
                path,
                item: None,
            });
        }
    }

    fn parent(&self) -> String {
        self.levels
            .last()
            .map_or_else(String::new, |l| l.path.clone())
    }

    /// Walks over a line and refuses what is refused.
    fn characters(&mut self, line: &str, indent: usize, number: usize) -> Result<(), Fault> {
        let bytes = line.as_bytes();
        // Whether a value, key or item may begin here; inside a plain text `*` and `&` mean nothing.
        let mut at_start = true;
        let mut i = 0;
        while let Some(&byte) = bytes.get(i) {
            let fault = |message| {
                Err(Fault {
                    place: (number, i + 1),
                    message,
                })
            };
            let is_last = bytes.get(i + 1).is_none_or(|b| *b == b' ');
            match (self.quote, byte) {
                (Some(b'"'), b'\\') => i += 1,
                (Some(quote), _) => {
                    if byte == quote {
                        self.quote = None;
                    }
                }
                (None, b'\t') => return fault("a tab; indent and separate with spaces"),
                (None, b'#') if i == 0 || bytes[i - 1] == b' ' => break,
                (None, b' ') => {}
                (None, b'&') if at_start => return fault("anchors (&name) are not read"),
                (None, b'*') if at_start => return fault("aliases (*name) are not read"),
                (None, b'!') if at_start => return fault("tags (!name) are not read"),
                (None, b'"' | b'\'') if at_start => {
                    self.quote = Some(byte);
                    at_start = false;
                }
                (None, b'|' | b'>') if at_start => {
                    // Deeper than the key or item that it is the value of.
                    self.block = Some(self.levels.last().map_or(indent, |l| l.indent));
                }
                (None, b'[' | b'{') if at_start => {
                    self.flow_depth += 1;
                    if self.flow_depth > MAX_FLOW_DEPTH {
                        return fault("nests too deep");
                    }
                }
                (None, b']' | b'}') if self.flow_depth > 0 => {
                    self.flow_depth -= 1;
                    at_start = false;
                }
                (None, b',') if self.flow_depth > 0 => at_start = true,
                (None, b':') if is_last => at_start = true,
                (None, b'-' | b'?') if at_start && is_last => {}
                (None, _) => at_start = false,
            }
            i += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> ((usize, usize), &'static str) {
        let fault = scan(text).unwrap_err();
        (fault.place, fault.message)
    }

    #[test]
    fn what_is_refused_is_told_with_its_place() {
        assert_eq!(fault("api:\n\tport: 1").0, (2, 1));
        assert_eq!(fault("api:\n  port:\t1").0, (2, 8));
        assert_eq!(fault("a: &x 1"), ((1, 4), "anchors (&name) are not read"));
        assert_eq!(
            fault("a: [1, *x]"),
            ((1, 8), "aliases (*name) are not read")
        );
        assert_eq!(fault("a:\n- *x").0, (2, 3));
        assert_eq!(fault("? *x : 1").0, (1, 3));
        assert_eq!(fault("<<: *x").0, (1, 5));
        assert_eq!(fault("a: !!binary eA==").0, (1, 4));
        assert_eq!(fault("a: {b: &x {}}").0, (1, 8));
    }

    #[test]
    fn texts_may_hold_what_is_refused_elsewhere() {
        for text in [
            "a: \"&x\t*y\" # *z\t",
            "a: 'it''s *x'\nb: 1",
            "a: mysql://u&b*c!d",
            "a: x & y * z",
            "# \t &a",
            "a: |\n  *x\n\n  &y\t\nb: 1",
            "a: \"two\n  *lines\"",
            "a: \"\\\"*x\"",
        ] {
            scan(text).unwrap();
        }
    }

    #[test]
    fn keys_are_found_where_they_stand() {
        let places = scan(
            "task_types:\n- worker # x\n- name: backup\n  timeout_s: 3\n\napi:\n  port: 1\nx:\n  \
             - a\n  - schema: {b: 1}\nm:\n  db:\n    uri: |\n      k: v\n  q: 1\n",
        )
        .unwrap();
        for (key, place) in [
            ("task_types", (1, 1)),
            ("task_types[0]", (2, 1)),
            ("task_types[1]", (3, 1)),
            ("task_types[1].name", (3, 3)),
            ("task_types[1].timeout_s", (4, 3)),
            ("api.port", (7, 3)),
            ("api.bind", (6, 1)),
            ("x[1].schema.b", (10, 5)),
            ("m.db.uri", (13, 5)),
            ("m.q", (15, 3)),
        ] {
            assert_eq!(places.find(key), Some(place), "{key}");
        }
        assert!(!places.has("m.db.uri.k"));
        assert_eq!(places.find("nothing"), None);
    }
}
