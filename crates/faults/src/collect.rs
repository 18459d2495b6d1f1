//! What tasker says of every task, read through its API.

use serde_json::Value;
use tasker_testkit::drill::Row;
use tasker_testkit::installation::{Api, rows};

/// Tasks that are read at once.
const AT_ONCE: usize = 8;
/// Rows on one page.
const PAGE: usize = 200;

/// Every response of every task of these types.
///
/// # Panics
/// If the API does not answer.
#[must_use]
pub fn collect(api: &Api, task_types: &[&str]) -> Vec<Row> {
    let mut all = Vec::new();
    for task_type in task_types {
        let names = identifiers(api, task_type, "");
        let share = names.len().div_ceil(AT_ONCE).max(1);
        std::thread::scope(|scope| {
            let read = |names: &[String]| -> Vec<Row> {
                let rows = names.iter().map(|name| responses(api, task_type, name));
                rows.flatten().collect()
            };
            let shares = names.chunks(share);
            let readers: Vec<_> = shares
                .map(|names| scope.spawn(move || read(names)))
                .collect();
            for reader in readers {
                all.extend(reader.join().expect("a reader"));
            }
        });
    }
    all
}

/// The identifiers of the tasks of a type, all or (`&status=SENT`) some of them.
///
/// # Panics
/// If the API does not answer.
#[must_use]
pub fn identifiers(api: &Api, task_type: &str, filter: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = get(api, &format!("/{task_type}?limit={PAGE}{filter}{cursor}"));
        let found = rows(&page, "tasks").iter();
        all.extend(found.filter_map(|task| Some(task["identifier"].as_str()?.to_owned())));
        let Some(next) = page["next"].as_str() else {
            return all;
        };
        cursor = format!("&cursor={next}");
    }
}

fn responses(api: &Api, task_type: &str, identifier: &str) -> Vec<Row> {
    let row = |response: &Value| Row {
        identifier: identifier.to_owned(),
        endpoint: response["endpoint"].as_str().map(str::to_owned),
        state: response["state"].as_str().unwrap_or_default().to_owned(),
        token: response["payload"]["token"].as_str().map(str::to_owned),
    };
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = get(
            api,
            &format!("/{task_type}/{identifier}/responses?limit=1000{cursor}"),
        );
        all.extend(rows(&page, "responses").iter().map(row));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    if all.is_empty() {
        all.push(Row {
            identifier: identifier.to_owned(),
            endpoint: None,
            state: String::new(),
            token: None,
        });
    }
    all
}

fn get(api: &Api, path: &str) -> Value {
    let (status, answer) = api.get(path);
    assert_eq!(status, 200, "GET {path}: {answer}");
    answer
}
