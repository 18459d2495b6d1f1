//! A report as a table.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::commands::view;
use crate::exit::Failure;
use crate::terminal::harmless;

/// The fields of a JSON object, in their order.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// A row for each figure, in the order of the report.
///
/// # Errors
/// [`Failure::Failed`] if it is no JSON object.
pub(super) fn table(report: &str) -> Result<String, Failure> {
    let fields: Fields =
        serde_json::from_str(report).map_err(|e| Failure::Failed(e.to_string()))?;
    let mut table = view::table(&["FIGURE", "VALUE"]);
    for (name, value) in fields.0 {
        let text = match value {
            Value::Null => "no".to_owned(),
            Value::String(text) => harmless(&text),
            other => other.to_string(),
        };
        table.add_row([name.replace('_', " "), text]);
    }
    Ok(table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_in_their_order() {
        let text = table(r#"{"section":"x","per_second":1.5,"a":2,"void":null}"#).unwrap();
        let lines: Vec<Vec<_>> = text
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect())
            .collect();
        let expected = [
            vec!["section", "x"],
            vec!["per", "second", "1.5"],
            vec!["a", "2"],
            vec!["void", "no"],
        ];
        assert_eq!(lines, expected, "{text}");
    }
}
