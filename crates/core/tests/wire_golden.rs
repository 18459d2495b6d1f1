//! The golden files of `docs/wire/` are what this release writes and reads, byte for byte.

use serde_json::value::RawValue;
use tasker_core::wire::{
    Cancel, EntryRef, Envelope, Hello, MAX_REPLY_BYTES, Report, ReportBatch, WireError, WireTask,
};
use tasker_core::{EndpointName, ResponseState, TaskUid};

fn golden(name: &str) -> String {
    let path = format!("{}/../../docs/wire/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path)
        .expect(&path)
        .trim_end()
        .to_owned()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("UTF-8")
}

fn endpoint(name: &str) -> EndpointName {
    EndpointName::parse(name).expect("a name")
}

/// As the first endpoint of the golden envelope reads it.
fn read(message: &str) -> Envelope {
    Envelope::parse(message.as_bytes(), &endpoint("console1")).expect("an envelope")
}

#[test]
fn what_is_for_others_is_left_out() {
    let file = golden("envelope");
    let other = Envelope::parse(file.as_bytes(), &endpoint("console3")).unwrap();
    assert_eq!((other.entries.len(), other.for_others), (1, 1));
    assert_eq!(other.entries[0].identifier.as_str(), "second");
    let alone = golden("envelope").replacen("\"audience\":null", "\"audience\":[]", 1);
    let nobody = Envelope::parse(alone.as_bytes(), &endpoint("console3")).unwrap();
    assert_eq!((nobody.entries.len(), nobody.for_others), (0, 2));
    let bad = file.replacen("\"audience\":null", "\"audience\":[7]", 1);
    let bad = read(&bad).bad;
    assert!(
        bad[0].errmsg.contains("audience") && bad[0].uid.is_some(),
        "{bad:?}"
    );
}

#[test]
fn an_envelope_is_read_and_written_as_documented() {
    let file = golden("envelope");
    let envelope = read(&file);
    assert!(envelope.bad.is_empty() && envelope.for_others == 0);
    let names = ["console1", "console2"].map(endpoint);
    let audiences = [Some(&names[..]), None];
    let parts: Vec<EntryRef<'_>> = std::iter::zip(&envelope.entries, audiences)
        .map(|(entry, audience)| EntryRef {
            attempt: entry.attempt,
            audience,
            task: &entry.task,
        })
        .collect();
    assert_eq!(text(Envelope::encode(&parts)), file);

    let entry = &envelope.entries[0];
    let task = WireTask::parse(&entry.task).unwrap();
    // Byte for byte as the client sent it, blanks and all.
    assert_eq!(task.payload.unwrap().get(), r#"{"foo": "bar", "n": 1.0}"#);
    assert!(parts.iter().map(EntryRef::weight).sum::<usize>() + 32 >= file.len());
}

#[test]
fn cancels_and_welcomes_are_read_and_written_as_documented() {
    let cancel = golden("cancel");
    let read = self::read(&cancel);
    assert_eq!(text(Cancel::encode(read.cancel)), cancel);

    let welcome = golden("welcome");
    let read = self::read(&welcome).welcome.unwrap();
    assert_eq!(text(read.encode()), welcome);
}

#[test]
fn what_workers_send_is_read_and_written_as_documented() {
    for name in ["report", "hello", "heartbeat"] {
        let file = golden(name);
        let batch = ReportBatch::parse(file.as_bytes()).unwrap();
        assert_eq!(batch.is_heartbeat(), name == "heartbeat");
        assert_eq!(text(batch.encode()), file, "{name}");
    }
    let hello = ReportBatch::parse(golden("hello").as_bytes())
        .unwrap()
        .hello;
    assert_eq!(
        hello,
        Some(Hello {
            version: "0.1.0".into(),
            fresh: true
        })
    );
}

#[test]
fn unknown_fields_are_ignored() {
    let file = golden("hello").replacen("{\"v\":1", "{\"v\":1,\"later\":[1]", 1);
    ReportBatch::parse(file.as_bytes()).unwrap();
    let file = golden("envelope").replace("\"sig\":null", "\"sig\":null,\"later\":{}");
    assert_eq!(read(&file).entries.len(), 2);
}

#[test]
fn what_cannot_be_read_is_refused_with_a_reason() {
    let envelope = golden("envelope");
    for (message, reason) in [
        (envelope.replacen("\"v\":1", "\"v\":2", 1), "version"),
        (envelope.replacen("\"v\":1,", "", 1), "shape"),
        (envelope.replacen("\"v\":1", "\"v\":\"1\"", 1), "shape"),
        (
            envelope.replacen("\"v\":1", "\"v\":1,\"v\":1", 1),
            "malformed",
        ),
        (format!("{envelope}x"), "malformed"),
        (envelope[..200].to_owned(), "malformed"),
        ("[".repeat(1_000_000), "malformed"),
        ("{\"v\":1}".to_owned(), "shape"),
        ("[]".to_owned(), "shape"),
        (" ".repeat(9 << 20), "too_long"),
    ] {
        let start = message.chars().take(40).collect::<String>();
        let error = Envelope::parse(message.as_bytes(), &endpoint("console1")).expect_err(&start);
        assert_eq!(error.reason(), reason, "{start} {error}");
    }
    assert_eq!(
        Envelope::parse(b"{\"v\":7}", &endpoint("console1")).unwrap_err(),
        WireError::Version(7)
    );
}

#[test]
fn a_worker_says_at_most_a_mebibyte_at_once() {
    let hello = golden("hello");
    let hello = hello.trim_end();
    let padding = " ".repeat((1 << 20) - hello.len());
    ReportBatch::parse(format!("{hello}{padding}").as_bytes()).unwrap();
    let error = ReportBatch::parse(format!("{hello}{padding} ").as_bytes()).unwrap_err();
    assert_eq!(error.reason(), "too_long", "{error}");
}

#[test]
fn a_bad_entry_does_not_take_its_neighbour_down_and_can_be_answered() {
    let good = golden("envelope");
    for (from, to, word) in [
        ("\"timeout_s\":60", "\"timeout_s\":-1", "-1"),
        (
            "\"identifier\":\"second\"",
            "\"identifier\":\"../x\"",
            "identifier",
        ),
        (
            "\"type\":\"worker\",\"client\":\"local\",\"payload\":null",
            "\"type\":\"W\",\"client\":\"local\",\"payload\":null",
            "type",
        ),
    ] {
        let message = good.replacen(from, to, 1);
        assert_ne!(message, good);
        let envelope = read(&message);
        assert_eq!((envelope.entries.len(), envelope.bad.len()), (1, 1), "{to}");
        let bad = &envelope.bad[0];
        assert!(bad.uid.is_some() && bad.attempt == 2, "{bad:?}");
        assert!(bad.errmsg.contains(word), "{bad:?}");
    }
}

#[test]
fn an_endpoint_cannot_report_what_the_ledger_decides() {
    let file = golden("report");
    for (from, to) in [
        ("RUNNING", "WAITING"),
        ("RUNNING", "EXPIRED"),
        ("RUNNING", "RETRYING"),
        ("RUNNING", "PAUSED"),
        ("\"attempt\":1", "\"attempt\":0"),
        ("\"percent\":40", "\"percent\":101"),
    ] {
        let message = file.replacen(from, to, 1);
        let error = ReportBatch::parse(message.as_bytes()).expect_err(to);
        assert_eq!(error.reason(), "shape", "{to}");
    }
    let mut batch = ReportBatch::parse(file.as_bytes()).unwrap();
    let payload = format!("\"{}\"", "a".repeat(MAX_REPLY_BYTES));
    batch.reports.push(Report {
        errnr: Some(0),
        payload: Some(RawValue::from_string(payload).unwrap()),
        ..Report::plain(TaskUid::mint(), 1, 1, ResponseState::Succeeded)
    });
    assert!(ReportBatch::parse(&batch.encode()).is_err());
}
