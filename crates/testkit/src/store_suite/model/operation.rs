//! What can be done to a ledger, as small numbers: every sequence of operations makes sense, so that
//! a failing one can be shortened by leaving out any of them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tasker_core::ResponseState;
use tasker_core::task::{Audience, RunPolicy};

/// The endpoints that lists choose from, and a stranger that no list names.
pub(super) const ENDPOINTS: [&str; 4] = ["a", "b", "c", "stranger"];
/// How many of them a list can name.
const LISTABLE: usize = 3;
/// The longest sequence.
const MAX_STEPS: usize = 60;
/// How many identifiers clients use.
const IDENTIFIERS: u8 = 3;

/// A client's request.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) identifier: u8,
    /// Requests with the same identifier and form are the same request.
    pub(super) form: u8,
    pub(super) audience: Audience,
    /// Which endpoints the list names, a bit each; at least one.
    pub(super) listed: u8,
    pub(super) run_policy: RunPolicy,
    pub(super) max_attempts: u32,
    pub(super) timeout_s: u32,
    pub(super) expires_in_s: u32,
    pub(super) wait_s: u32,
}

/// What an endpoint says of a task.
#[derive(Debug, Clone)]
pub(super) struct Said {
    /// Which task, counted from the oldest; `None`: one that the ledger never had.
    pub(super) task: Option<u8>,
    pub(super) endpoint: Speaker,
    /// Says so as a worker of another task type.
    pub(super) is_of_other_type: bool,
    pub(super) attempt: Attempt,
    pub(super) run: u32,
    pub(super) state: ResponseState,
    pub(super) age_s: u32,
}

/// Whose report it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Speaker {
    /// One of those that have a row, counted by name.
    OfRow(u8),
    /// Any endpoint.
    Any(u8),
}

/// The attempt that a report answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Attempt {
    /// The row's, and so many more or fewer.
    Near(i8),
    /// None: a tombstone.
    None,
}

/// Which start of a worker says hello.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    /// A new one, on its journal or (`true`) on a new one.
    New(bool),
    /// The present one, after a reconnect.
    Present,
    /// One so many before the present: the broker delivered its hello again.
    Past(u8),
}

/// One step.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Create {
        wishes: Vec<Wish>,
        owner: u8,
    },
    Take {
        owner: u8,
        limit: u32,
    },
    /// The broker confirmed these tasks, or (`true`) their cancels.
    Mark(Vec<(u8, bool)>),
    Report(Vec<Said>),
    Hello {
        endpoint: u8,
        start: Start,
        fresh: bool,
    },
    Heartbeat(u8),
    Cancel {
        task: u8,
        owner: u8,
    },
    Retry {
        task: u8,
        states: Vec<ResponseState>,
        /// Which endpoints, a bit each; `None`: all.
        endpoints: Option<u8>,
        wait_s: u32,
    },
    Settle {
        limit: u32,
    },
    Presume {
        limit: u32,
    },
    Ask {
        limit: u32,
    },
    /// Seconds go by.
    Pass(u32),
}

/// The names of a list or choice.
pub(super) fn names(bits: u8) -> Vec<&'static str> {
    (0..LISTABLE)
        .filter(|bit| bits & (1 << bit) != 0)
        .map(|bit| ENDPOINTS[bit])
        .collect()
}

fn wish() -> impl Strategy<Value = Wish> {
    let audience = prop_oneof![
        4 => Just(Audience::Listed),
        2 => Just(Audience::Subscribed),
        1 => Just(Audience::Everybody),
    ];
    (
        0..IDENTIFIERS,
        prop_oneof![5 => Just(0_u8), 1 => Just(1_u8)],
        audience,
        1_u8..(1 << LISTABLE),
        select(vec![RunPolicy::Once, RunPolicy::Idempotent]),
        select(vec![1_u32, 1, 3]),
        (
            select(vec![1_u32, 60, 2000]),
            select(vec![20_u32, 300, 5000]),
            select(vec![0_u32, 30, 400]),
        ),
    )
        .prop_map(
            |(identifier, form, audience, listed, run_policy, max_attempts, times)| Wish {
                identifier,
                form,
                audience,
                listed,
                run_policy,
                max_attempts,
                timeout_s: times.0,
                expires_in_s: times.1,
                wait_s: times.2,
            },
        )
}

fn reportable() -> impl Strategy<Value = ResponseState> {
    use ResponseState::{
        Cancelled, Failed, Interrupted, Received, Rejected, Running, Succeeded, TimedOut,
    };
    prop_oneof![
        5 => Just(Received),
        4 => Just(Running),
        4 => Just(Succeeded),
        3 => Just(Failed),
        1 => Just(TimedOut),
        1 => Just(Interrupted),
        1 => Just(Rejected),
        2 => Just(Cancelled),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let task = prop_oneof![20 => any::<u8>().prop_map(Some), 1 => Just(None)];
    let attempt = prop_oneof![
        14 => Just(Attempt::Near(0)),
        3 => Just(Attempt::Near(-1)),
        1 => Just(Attempt::Near(1)),
        1 => Just(Attempt::None),
    ];
    (
        task,
        prop_oneof![
            6 => (0..LISTABLE as u8).prop_map(Speaker::OfRow),
            1 => (0..ENDPOINTS.len() as u8).prop_map(Speaker::Any),
        ],
        prop_oneof![20 => Just(false), 1 => Just(true)],
        attempt,
        0_u32..3,
        reportable(),
        select(vec![0_u32, 0, 0, 10, 1000]),
    )
        .prop_map(
            |(task, endpoint, is_of_other_type, attempt, run, state, age_s)| Said {
                task,
                endpoint,
                is_of_other_type,
                // Only a cancel is confirmed without an attempt.
                state: match attempt {
                    Attempt::None => ResponseState::Cancelled,
                    Attempt::Near(_) => state,
                },
                attempt,
                run,
                age_s,
            },
        )
}

fn states() -> impl Strategy<Value = Vec<ResponseState>> {
    prop_oneof![
        3 => Just(ResponseState::ALL.to_vec()),
        1 => proptest::sample::subsequence(ResponseState::ALL.to_vec(), 0..4),
    ]
}

fn limit() -> impl Strategy<Value = u32> {
    select(vec![1_u32, 2, 100])
}

fn endpoint() -> impl Strategy<Value = u8> {
    0..LISTABLE as u8
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        2 => Just(Start::New(false)),
        2 => Just(Start::New(true)),
        1 => Just(Start::Present),
        1 => (0_u8..10).prop_map(Start::Past),
    ]
}

fn create() -> impl Strategy<Value = Operation> {
    (vec(wish(), 1..4), 0_u8..2).prop_map(|(wishes, owner)| Operation::Create { wishes, owner })
}

/// A sequence that begins with a task.
pub(super) fn operations() -> impl Strategy<Value = Vec<Operation>> {
    (create(), vec(operation(), 1..MAX_STEPS)).prop_map(|(first, mut rest)| {
        rest.insert(0, first);
        rest
    })
}

/// One operation, the frequent ones more often.
fn operation() -> impl Strategy<Value = Operation> {
    use Operation as Op;
    prop_oneof![
        1 => create(),
        2 => (0_u8..2, limit()).prop_map(|(owner, limit)| Op::Take { owner, limit }),
        3 => vec((any::<u8>(), prop_oneof![4 => Just(false), 1 => Just(true)]), 1..4)
            .prop_map(Op::Mark),
        12 => vec(said(), 1..5).prop_map(Op::Report),
        4 => (endpoint(), start(), any::<bool>())
            .prop_map(|(endpoint, start, fresh)| Op::Hello { endpoint, start, fresh }),
        2 => endpoint().prop_map(Op::Heartbeat),
        2 => (any::<u8>(), 0_u8..2).prop_map(|(task, owner)| Op::Cancel { task, owner }),
        3 => (
            any::<u8>(),
            states(),
            proptest::option::weighted(0.3, any::<u8>()),
            select(vec![0_u32, 30, 400]),
        )
            .prop_map(|(task, states, endpoints, wait_s)| {
                Op::Retry { task, states, endpoints, wait_s }
            }),
        4 => limit().prop_map(|limit| Op::Settle { limit }),
        3 => limit().prop_map(|limit| Op::Presume { limit }),
        4 => limit().prop_map(|limit| Op::Ask { limit }),
        6 => select(vec![1_u32, 10, 20, 30, 60, 300, 400, 2500, 6000]).prop_map(Op::Pass),
    ]
}
