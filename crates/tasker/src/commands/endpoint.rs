//! `tasker endpoint`: the broker accounts of endpoints.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rand::distr::{Alphanumeric, SampleString};
use serde::Serialize;
use tasker_core::{EndpointName, TaskType};

use super::view;
use crate::cli::{EndpointCommand, ModeArgs};
use crate::config::{self, Config, MessageQueue, Needs, RabbitmqConfig, Secret};
use crate::exit::{Exit, Failure};
use crate::rabbitmq::api::ManagementApi;
use crate::rabbitmq::setup::Setup;
use crate::terminal;

/// 62 letters and digits: 32 of them are 190 bits.
const PASSWORD_LENGTH: usize = 32;

/// Adds, lists or revokes.
///
/// # Errors
/// [`Failure`].
pub fn run(command: &EndpointCommand) -> Result<Exit, Failure> {
    match command {
        EndpointCommand::Add {
            name,
            tasktype,
            out,
            new_password,
            mode,
        } => {
            let config = load(mode)?;
            add(&config, name, tasktype, out.as_ref(), *new_password)
        }
        EndpointCommand::List { json, mode } => list(&load(mode)?, *json),
        EndpointCommand::Revoke { name, mode } => revoke(&load(mode)?, name),
    }
}

fn load(mode: &ModeArgs) -> Result<Config, Failure> {
    Ok(config::load(
        &mode.mode,
        mode.config.as_deref(),
        Needs::ENDPOINT,
    )?)
}

fn parts(config: &Config) -> Result<(ManagementApi, &MessageQueue), Failure> {
    let missing = || Failure::Usage("manager.message_queue and rabbitmq are needed".to_owned());
    let queue = config.message_queue.as_ref().ok_or_else(missing)?;
    let rabbitmq: &RabbitmqConfig = config.rabbitmq.as_ref().ok_or_else(missing)?;
    Ok((ManagementApi::new(rabbitmq, &queue.virtual_host)?, queue))
}

fn add(
    config: &Config,
    name: &EndpointName,
    types: &[TaskType],
    out: Option<&PathBuf>,
    new_password: bool,
) -> Result<Exit, Failure> {
    let known = config.names();
    if let Some(unknown) = types.iter().find(|t| !known.contains(t)) {
        let message = format!("task type {:?} is not in task_types", unknown.as_str());
        return Err(Failure::Usage(message));
    }
    let (api, queue) = parts(config)?;
    let setup = Setup::new(&api, queue);
    let user = setup.endpoint_user(name);
    let password = (new_password || !api.has_user(&user)?)
        .then(|| Secret::new(Alphanumeric.sample_string(&mut rand::rng(), PASSWORD_LENGTH)));
    // Opened first: an account whose password nobody has is worse than none.
    let file = match (out, &password) {
        (Some(path), Some(_)) => Some((path, create(path)?)),
        _ => None,
    };
    let made = setup
        .put_shared(types)
        .and_then(|()| setup.put_endpoint(name, types, password.as_ref()));
    if let Err(error) = made {
        if let Some((path, _)) = file {
            // Best effort: an empty file would only stand in the way of the next try.
            let _ = std::fs::remove_file(path);
        }
        return Err(error.into());
    }
    let Some(password) = password else {
        terminal::print(&format!(
            "{user}: rights changed, password kept (see --new-password)"
        ))?;
        return Ok(Exit::OK);
    };
    // What a unit's EnvironmentFile= and a shell read.
    let lines = format!(
        "TASKER_WORKER_USER={user}\nTASKER_WORKER_PASSWORD={}",
        password.expose()
    );
    match file {
        Some((path, mut file)) => {
            writeln!(file, "{lines}")
                .and_then(|()| file.sync_all())
                .map_err(|e| Failure::Failed(format!("{}: {e}", path.display())))?;
            terminal::print(&format!("{user}: account written to {}", path.display()))?;
        }
        None => terminal::print(&lines)?,
    }
    Ok(Exit::OK)
}

/// A new file that only its owner can read. One that exists is never overwritten.
fn create(path: &Path) -> Result<File, Failure> {
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    created.map_err(|e| Failure::Usage(format!("{}: {e}", path.display())))
}

#[derive(Debug, Serialize)]
struct Listed {
    endpoint: String,
    account: Option<String>,
    inboxes: Vec<ListedInbox>,
}

#[derive(Debug, Serialize)]
struct ListedInbox {
    #[serde(rename = "type")]
    task_type: String,
    queue: String,
    consumers: u64,
    messages: u64,
}

fn list(config: &Config, json: bool) -> Result<Exit, Failure> {
    let (api, queue) = parts(config)?;
    let setup = Setup::new(&api, queue);
    let mut listed: BTreeMap<EndpointName, Listed> = BTreeMap::new();
    let empty = |name: &EndpointName| Listed {
        endpoint: name.to_string(),
        account: None,
        inboxes: Vec::new(),
    };
    for user in api.users()? {
        if let Some(name) = setup.user_owner(&user) {
            listed
                .entry(name.clone())
                .or_insert_with(|| empty(&name))
                .account = Some(user);
        }
    }
    for queue in api.queues()? {
        if let Some((task_type, name)) = setup.inbox_owner(&queue.name) {
            let entry = listed.entry(name.clone()).or_insert_with(|| empty(&name));
            entry.inboxes.push(ListedInbox {
                task_type: task_type.to_string(),
                queue: queue.name,
                consumers: queue.consumers,
                messages: queue.messages,
            });
        }
    }
    let listed: Vec<_> = listed.into_values().collect();
    if json {
        let json = serde_json::to_string(&listed).map_err(|e| Failure::Failed(e.to_string()))?;
        terminal::print(&terminal::pretty(&json))?;
    } else {
        terminal::print(&table(&listed))?;
    }
    Ok(Exit::OK)
}

fn table(listed: &[Listed]) -> String {
    let mut table = view::table(&["ENDPOINT", "ACCOUNT", "TYPE", "CONSUMERS", "MESSAGES"]);
    for entry in listed {
        let account = entry.account.as_deref().unwrap_or("-");
        if entry.inboxes.is_empty() {
            table.add_row([&entry.endpoint, account, "-", "", ""]);
        }
        for inbox in &entry.inboxes {
            table.add_row([
                &entry.endpoint,
                account,
                &inbox.task_type,
                &inbox.consumers.to_string(),
                &inbox.messages.to_string(),
            ]);
        }
    }
    table.trim_fmt()
}

fn revoke(config: &Config, name: &EndpointName) -> Result<Exit, Failure> {
    let (api, queue) = parts(config)?;
    let setup = Setup::new(&api, queue);
    if !setup.delete_endpoint(name)? {
        return Err(Failure::Failed(format!(
            "there is no account and no inbox of {name}"
        )));
    }
    terminal::print(&format!("{}: revoked", setup.endpoint_user(name)))?;
    Ok(Exit::OK)
}
