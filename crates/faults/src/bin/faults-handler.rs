//! The handler of the drills as a program: it says in the ledger `$T_DIR/runs` when it begins and
//! ends, and does in between what its payload says.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;
use tasker_faults::handler::Order;
use tasker_testkit::drill::{Ledger, RunLine, RunStage, now_ms};

fn main() -> ExitCode {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .expect("a request");
    let request: Value = serde_json::from_str(&text).expect("a request");
    let variable = |name| std::env::var(name).expect("a variable of the protocol");
    let ledger = Ledger::open(&Path::new(&variable("T_DIR")).join("runs")).expect("the ledger");
    let token = format!("{:016x}", rand::random::<u64>());
    let number = |key: &str| {
        request[key]
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
            .expect("a number")
    };
    let word = |key: &str| request[key].as_str().expect("a word").to_owned();
    let note = |stage| {
        let line = RunLine {
            stage,
            identifier: word("identifier"),
            endpoint: word("endpoint"),
            attempt: number("attempt"),
            run: number("run"),
            token: token.clone(),
            at_ms: now_ms(),
        };
        ledger.write(&[line.line()]).expect("the ledger");
    };
    let order = Order::of(&request["payload"]);
    note(RunStage::Start);
    std::thread::sleep(order.work);
    if number("attempt") <= order.failures {
        return ExitCode::from(1);
    }
    note(RunStage::End);
    let reply = serde_json::json!({ "token": token }).to_string();
    std::fs::write(variable("TASKER_REPLY"), reply).expect("a reply");
    ExitCode::SUCCESS
}
