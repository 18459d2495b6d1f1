//! Step 1 of the line, receive: bytes → [`CreateTask`].
//!
//! Only the form is judged here: JSON, known fields, right types. Faults of single fields travel
//! along to step 2, so that the client hears of everything at once.

use bytes::Bytes;

use crate::fault::Faults;
use crate::fields::Fields;

/// The fields of a POST body.
pub(crate) const CREATE_FIELDS: &[&str] = &[
    "identifier",
    "payload",
    "endpoints",
    "timeout_s",
    "expires_in_s",
    "callback_url",
];

/// What a client sent, read and not yet judged.
#[derive(Debug, Clone, Default)]
pub(crate) struct CreateTask {
    pub(crate) identifier: Option<String>,
    /// JSON, byte for byte as it was sent.
    pub(crate) payload: Option<Bytes>,
    /// The names, with their places in the list.
    pub(crate) endpoints: Option<Vec<(usize, String)>>,
    pub(crate) timeout_s: Option<i64>,
    pub(crate) expires_in_s: Option<i64>,
    pub(crate) callback_url: Option<String>,
    /// What could not be read.
    pub(crate) faults: Faults,
}

/// Reads the body of a POST. Fails only if it is not one JSON object.
pub(crate) fn receive(body: &Bytes) -> Result<CreateTask, Faults> {
    let mut fields = Fields::read(body)?;
    Ok(CreateTask {
        identifier: fields.value("identifier", "string"),
        payload: fields
            .raw("payload")
            .map(|raw| body.slice_ref(raw.get().as_bytes())),
        endpoints: fields.texts("endpoints"),
        timeout_s: fields.integer("timeout_s"),
        expires_in_s: fields.integer("expires_in_s"),
        callback_url: fields.value("callback_url", "string"),
        faults: fields.finish(CREATE_FIELDS),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultCode;

    fn read(text: &str) -> CreateTask {
        receive(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[test]
    fn the_payload_keeps_its_bytes() {
        let task = read(r#"{"identifier":"a","payload": {"b" : 1e2, "a":-0 , "é":"\u00e9"} }"#);
        assert_eq!(
            task.payload.unwrap(),
            r#"{"b" : 1e2, "a":-0 , "é":"\u00e9"}"#.as_bytes()
        );
        assert_eq!(task.faults.total(), 0);
    }

    #[test]
    fn null_is_absent() {
        let task = read(r#"{"identifier":null,"payload":null,"endpoints":null,"timeout_s":null}"#);
        assert!(task.identifier.is_none() && task.payload.is_none());
        assert!(task.endpoints.is_none() && task.timeout_s.is_none());
    }

    #[test]
    fn every_unreadable_field_is_told() {
        let task = read(
            r#"{"identifier":1,"endpoints":["a",2,"b",null],"timeout_s":1.5,
                "expires_in_s":"9","id":3}"#,
        );
        let told: Vec<_> = task
            .faults
            .into_told()
            .into_iter()
            .map(|fault| (fault.code, fault.field))
            .collect();
        assert_eq!(
            told,
            [
                (FaultCode::WrongType, "identifier".to_owned()),
                (FaultCode::WrongType, "endpoints[1]".to_owned()),
                (FaultCode::WrongType, "endpoints[3]".to_owned()),
                (FaultCode::WrongType, "timeout_s".to_owned()),
                (FaultCode::WrongType, "expires_in_s".to_owned()),
                (FaultCode::UnknownField, "id".to_owned()),
            ]
        );
    }

    #[test]
    fn great_numbers_are_numbers() {
        let task =
            read(r#"{"timeout_s":18446744073709551616,"expires_in_s":-18446744073709551616}"#);
        assert_eq!(task.timeout_s, Some(i64::MAX));
        assert_eq!(task.expires_in_s, Some(i64::MIN));
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for text in ["", "[]", "1", "null", "{} {}", "{\"a\":1,\"a\":1}"] {
            assert!(
                receive(&Bytes::copy_from_slice(text.as_bytes())).is_err(),
                "{text}"
            );
        }
    }
}
