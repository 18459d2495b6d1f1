//! `docs/state-machine.md` shows exactly the moves of the transition tables.

use std::collections::BTreeSet;

use tasker_core::{ResponseState, TaskStatus};

type Moves = BTreeSet<(String, String)>;

/// The arrows of the diagrams, one set a diagram, without the entry arrow.
fn drawn() -> Vec<Moves> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/state-machine.md");
    let text = std::fs::read_to_string(path).expect(path);
    text.split("```mermaid")
        .skip(1)
        .map(|block| {
            let diagram = block.split("```").next().unwrap_or_default();
            diagram
                .lines()
                .filter_map(|line| line.trim().split_once(" --> "))
                .filter(|(from, _)| *from != "[*]")
                .map(|(from, to)| (from.to_owned(), to.to_owned()))
                .collect()
        })
        .collect()
}

fn legal<S: Copy + ToString>(all: &[S], may_become: impl Fn(S, S) -> bool) -> Moves {
    let pairs = all
        .iter()
        .flat_map(|&from| all.iter().map(move |&to| (from, to)));
    pairs
        .filter(|&(from, to)| may_become(from, to))
        .map(|(from, to)| (from.to_string(), to.to_string()))
        .collect()
}

#[test]
fn the_diagrams_are_the_tables() {
    let [tasks, responses] = &drawn()[..] else {
        panic!("two diagrams")
    };
    assert_eq!(*tasks, legal(TaskStatus::ALL, TaskStatus::may_become));
    assert_eq!(
        *responses,
        legal(ResponseState::ALL, ResponseState::may_become)
    );
}
