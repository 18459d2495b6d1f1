//! `tasker user`: who may use the API.

use std::io::{IsTerminal, Read};

use serde::Serialize;
use tasker_api::{MAX_PASSWORD_BYTES, hash_password};
use tasker_core::account::{Grants, Role};
use tasker_core::accounts::{AuditKind, NewUser, PasswordHash, User};

use super::args::UserCommand;
use super::{Office, no_such_user};
use crate::commands::view;
use crate::exit::{Exit, Failure};
use crate::terminal;

/// Adds, lists, changes or removes.
///
/// # Errors
/// [`Failure`].
pub fn run(command: &UserCommand) -> Result<Exit, Failure> {
    match command {
        UserCommand::Add {
            name,
            role,
            no_password,
            grants,
            mode,
        } => {
            let office = Office::open(mode)?;
            let password = (!no_password).then(read_password).transpose()?;
            let user = NewUser {
                name: name.clone(),
                role: *role,
                grants: grants.grants(),
                password,
            };
            if !office.with(async |accounts| accounts.add_user(user).await)? {
                return Err(Failure::Failed(format!("there is a user {name} already")));
            }
            office.note(
                AuditKind::User,
                format!("{name} added as {}", role.as_str()),
            )?;
            terminal::print(&format!("{name}: added as {}", role.as_str()))?;
        }
        UserCommand::List { json, mode } => {
            let users = Office::open(mode)?.with(async |accounts| accounts.users().await)?;
            print(&users, *json)?;
        }
        UserCommand::Password { name, mode } => {
            let office = Office::open(mode)?;
            let password = read_password()?;
            if !office.with(async |accounts| accounts.set_password(name, password).await)? {
                return Err(no_such_user(name));
            }
            office.note(AuditKind::User, format!("{name} got another password"))?;
            terminal::print(&format!("{name}: has another password"))?;
        }
        UserCommand::Remove { name, mode } => {
            let office = Office::open(mode)?;
            if !office.with(async |accounts| accounts.remove_user(name).await)? {
                return Err(no_such_user(name));
            }
            office.note(AuditKind::User, format!("{name} removed"))?;
            terminal::print(&format!("{name}: removed, with all tokens"))?;
        }
    }
    Ok(Exit::OK)
}

/// From the terminal, twice and unseen; otherwise the first line of stdin. Never from the command line,
/// which every user of the host can read.
fn read_password() -> Result<PasswordHash, Failure> {
    let unread = |e: std::io::Error| Failure::Failed(format!("the password cannot be read: {e}"));
    let password = if std::io::stdin().is_terminal() {
        let password = rpassword::prompt_password("password: ").map_err(unread)?;
        if rpassword::prompt_password("once more: ").map_err(unread)? != password {
            return Err(Failure::Usage("the passwords differ".to_owned()));
        }
        password
    } else {
        let mut text = String::new();
        let most = MAX_PASSWORD_BYTES as u64 + 2;
        let mut stdin = std::io::stdin().lock().take(most);
        stdin.read_to_string(&mut text).map_err(unread)?;
        text.lines().next().unwrap_or_default().to_owned()
    };
    hash_password(&password).map_err(|e| Failure::Usage(e.to_string()))
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    role: Role,
    grants: &'a Grants,
    has_password: bool,
    created_at: String,
}

fn print(users: &[User], json: bool) -> Result<(), Failure> {
    if json {
        let listed: Vec<_> = users.iter().map(listed).collect();
        let text = serde_json::to_string(&listed).map_err(|e| Failure::Failed(e.to_string()))?;
        return terminal::print(&terminal::pretty(&text));
    }
    let mut table = view::table(&["NAME", "ROLE", "PASSWORD", "ONLY", "ADDED (UTC)"]);
    for user in users {
        table.add_row([
            user.name.to_string(),
            user.role.as_str().to_owned(),
            if user.has_password { "yes" } else { "no" }.to_owned(),
            only(&user.grants),
            view::time(user.created_at),
        ]);
    }
    terminal::print(&table.trim_fmt())
}

fn listed(user: &User) -> Listed<'_> {
    Listed {
        name: user.name.as_str(),
        role: user.role,
        grants: &user.grants,
        has_password: user.has_password,
        created_at: user.created_at.to_rfc3339(),
    }
}

/// Grants in a few words; a dash: everything of the role.
pub(super) fn only(grants: &Grants) -> String {
    let mut parts = Vec::new();
    if grants.read_only {
        parts.push("reading".to_owned());
    }
    if let Some(types) = &grants.task_types {
        let types: Vec<_> = types.iter().map(|t| t.as_str()).collect();
        parts.push(format!("types {}", types.join(",")));
    }
    if let Some(globs) = &grants.endpoints {
        let globs: Vec<_> = globs.iter().map(|g| g.as_str()).collect();
        parts.push(format!("endpoints {}", globs.join(",")));
    }
    if parts.is_empty() {
        return "–".to_owned();
    }
    parts.join("; ")
}
