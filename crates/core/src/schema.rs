//! JSON Schemas of payloads, compiled once when a configuration or manifest is read.

use serde_json::Value;

/// A compiled JSON Schema (draft 2020-12 unless `$schema` says otherwise). References are resolved
/// within the schema only, never over the network; patterns run on a linear-time engine.
pub struct PayloadSchema(jsonschema::Validator);

impl std::fmt::Debug for PayloadSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PayloadSchema")
    }
}

/// A value that breaks its schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at {pointer:?})")]
pub struct SchemaFault {
    /// JSON pointer to the faulty value, empty for the whole payload.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

/// A schema that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSchema(String);

impl PayloadSchema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// [`BadSchema`] if it is not a JSON Schema, refers outside itself or has a pattern that cannot
    /// run in linear time (look-around, back-references).
    pub fn compile(schema: &Value) -> Result<Self, BadSchema> {
        jsonschema::options()
            .with_pattern_options(jsonschema::PatternOptions::regex())
            .build(schema)
            .map(Self)
            .map_err(|e| BadSchema(e.to_string()))
    }

    /// Judges a payload; a missing one counts as `null`.
    ///
    /// # Errors
    /// Every fault, at most 20.
    pub fn check(&self, payload: Option<&[u8]>) -> Result<(), Vec<SchemaFault>> {
        let value = match payload {
            None => Value::Null,
            Some(bytes) => serde_json::from_slice(bytes).map_err(|e| {
                vec![SchemaFault {
                    pointer: String::new(),
                    message: e.to_string(),
                }]
            })?,
        };
        let faults: Vec<_> = self
            .0
            .iter_errors(&value)
            .take(20)
            .map(|e| SchemaFault {
                pointer: e.instance_path().to_string(),
                message: e.to_string(),
            })
            .collect();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn faults_name_their_place() {
        let schema = PayloadSchema::compile(&json!({
            "type": "object", "required": ["n"],
            "properties": {"n": {"type": "integer", "maximum": 3}}
        }))
        .unwrap();
        schema.check(Some(br#"{"n":3}"#)).unwrap();
        assert_eq!(
            schema.check(Some(br#"{"n":4}"#)).unwrap_err()[0].pointer,
            "/n"
        );
        assert_eq!(schema.check(None).unwrap_err()[0].pointer, "");
    }

    #[test]
    fn remote_references_and_back_references_are_refused() {
        assert!(PayloadSchema::compile(&json!({"$ref": "http://127.0.0.1:9/x.json"})).is_err());
        assert!(PayloadSchema::compile(&json!({"$ref": "file:///etc/passwd"})).is_err());
        assert!(PayloadSchema::compile(&json!({"pattern": "(a)\\1"})).is_err());
        assert!(PayloadSchema::compile(&json!({"type": "nonsense"})).is_err());
    }

    #[test]
    fn patterns_run_in_linear_time() {
        let schema = PayloadSchema::compile(&json!({"pattern": "^(a+)+$"})).unwrap();
        let text = format!("\"{}b\"", "a".repeat(50_000));
        assert!(schema.check(Some(text.as_bytes())).is_err());
    }
}
