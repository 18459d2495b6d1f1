//! Every rule of a POST body, judged without HTTP. The same rows go over the wire in
//! `tests/bad_input.rs`.

use super::*;
use crate::receive::receive;
use serde_json::json;
use tasker_core::TaskType;
use tasker_core::schema::PayloadSchema;

fn kind() -> TaskTypeSettings {
    TaskTypeSettings::new(TaskType::parse("worker").unwrap())
}

fn judge_as(kind: &TaskTypeSettings, known: &[&str], body: &str) -> Result<NewTask, Faults> {
    let known: HashSet<_> = known
        .iter()
        .map(|n| EndpointName::parse(n).unwrap())
        .collect();
    let settings = ApiSettings {
        max_endpoints: 3,
        max_payload_bytes: 20,
        ..ApiSettings::default()
    };
    let rules = Rules {
        client: &Client::local(),
        task_type: kind,
        settings: &settings,
        known: kind.known_endpoints_only.then_some(&known),
    };
    validate(receive(&Bytes::copy_from_slice(body.as_bytes()))?, &rules)
}

fn told(faults: Faults) -> Vec<(FaultCode, String)> {
    let told = faults.into_told().into_iter();
    told.map(|fault| (fault.code, fault.field)).collect()
}

#[test]
fn defaults_come_from_the_task_type() {
    let task = judge_as(&kind(), &[], r#"{"identifier":"a"}"#).unwrap();
    assert_eq!(
        (task.timeout_s, task.expires_in_s, task.wait_s),
        (3600, 86_400, 30)
    );
    assert_eq!(task.audience, Audience::Subscribed);
    assert!(task.payload.is_none() && task.endpoints.is_none());
}

#[test]
fn duplicates_are_folded_and_order_is_kept() {
    let body = r#"{"identifier":"a","endpoints":["c","a","c","b","a"]}"#;
    let task = judge_as(&kind(), &[], body).unwrap();
    let names: Vec<_> = task
        .endpoints
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["c", "a", "b"]);
    assert_eq!(task.audience, Audience::Listed);
}

#[test]
fn unlisted_endpoints_perform_if_the_type_says_so() {
    let perform = TaskTypeSettings {
        unlisted: Unlisted::Perform,
        ..kind()
    };
    let task = judge_as(&perform, &[], r#"{"identifier":"a","endpoints":["c"]}"#).unwrap();
    assert_eq!(task.audience, Audience::Everybody);
}

#[test]
fn all_faults_are_told_at_once() {
    let body = r#"{"identifier":"a/b","payload":"aaaaaaaaaaaaaaaaaaaaaaaa","endpoints":["ok","*",""],
        "timeout_s":0,"expires_in_s":-1,"status":"DONE"}"#;
    let faults = judge_as(&kind(), &[], body).unwrap_err();
    assert_eq!(faults.decisive(), Some(FaultCode::UnknownField));
    let fields: Vec<_> = told(faults).into_iter().map(|(_, field)| field).collect();
    assert_eq!(
        fields,
        [
            "status",
            "identifier",
            "payload",
            "endpoints[1]",
            "endpoints[2]",
            "timeout_s",
            "expires_in_s"
        ]
    );
}

#[test]
fn one_fault_is_told_once() {
    for (body, code, field) in [
        ("{}", FaultCode::MissingField, "identifier"),
        (r#"{"identifier":7}"#, FaultCode::WrongType, "identifier"),
        (r#"{"identifier":""}"#, FaultCode::BadName, "identifier"),
        (
            r#"{"identifier":"console1 "}"#,
            FaultCode::BadName,
            "identifier",
        ),
        (
            r#"{"identifier":"a","endpoints":[]}"#,
            FaultCode::EmptyList,
            "endpoints",
        ),
        (
            r#"{"identifier":"a","endpoints":["a","b","c","d"]}"#,
            FaultCode::TooManyEndpoints,
            "endpoints",
        ),
        (
            r#"{"identifier":"a","timeout_s":86401}"#,
            FaultCode::OutOfBounds,
            "timeout_s",
        ),
        (
            r#"{"identifier":"a","expires_in_s":2592001}"#,
            FaultCode::OutOfBounds,
            "expires_in_s",
        ),
    ] {
        let faults = judge_as(&kind(), &[], body).unwrap_err();
        assert_eq!(told(faults), [(code, field.to_owned())], "{body}");
    }
}

#[test]
fn unknown_endpoints_are_listed_if_only_known_ones_are_allowed() {
    let strict = TaskTypeSettings {
        known_endpoints_only: true,
        ..kind()
    };
    let body = r#"{"identifier":"a","endpoints":["a","x","y"]}"#;
    let faults = judge_as(&strict, &["a"], body).unwrap_err();
    assert_eq!(
        told(faults),
        [
            (FaultCode::UnknownEndpoint, "endpoints[1]".to_owned()),
            (FaultCode::UnknownEndpoint, "endpoints[2]".to_owned()),
        ]
    );
    judge_as(&strict, &["a", "x", "y"], body).unwrap();
}

#[test]
fn schema_faults_have_a_pointer() {
    let schema =
        json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}});
    let strict = TaskTypeSettings {
        schema: Some(PayloadSchema::compile(&schema).unwrap()),
        ..kind()
    };
    judge_as(&strict, &[], r#"{"identifier":"a","payload":{"n":1}}"#).unwrap();
    let faults = judge_as(&strict, &[], r#"{"identifier":"a","payload":{"n":"1"}}"#).unwrap_err();
    assert_eq!(faults.decisive(), Some(FaultCode::PayloadSchema));
    assert_eq!(faults.into_told()[0].pointer.as_deref(), Some("/n"));
    assert!(judge_as(&strict, &[], r#"{"identifier":"a"}"#).is_err());
}

#[test]
fn the_same_request_has_the_same_hash_and_another_has_not() {
    let hash = |body| judge_as(&kind(), &[], body).unwrap().body_hash;
    let one = hash(r#"{"identifier":"a","endpoints":["x","y"],"payload":1}"#);
    assert_eq!(
        one,
        hash(r#"{"payload":1,"endpoints":["x","y","x"],"identifier":"a"}"#)
    );
    assert_ne!(
        one,
        hash(r#"{"identifier":"a","endpoints":["y","x"],"payload":1}"#)
    );
    assert_ne!(
        one,
        hash(r#"{"identifier":"a","endpoints":["x","y"],"payload":1.0}"#)
    );
    assert_ne!(
        one,
        hash(r#"{"identifier":"a","endpoints":["x","y"],"payload":1,"timeout_s":3600}"#)
    );
}
