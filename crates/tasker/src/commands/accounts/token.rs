//! `tasker token`: what programs show to say whose they are.

use serde::Serialize;
use tasker_core::account::Grants;
use tasker_core::accounts::{AuditKind, NewToken, TokenInfo};
use tasker_core::token::Token;

use super::args::TokenCommand;
use super::user::only;
use super::{Office, no_such_user};
use crate::commands::view;
use crate::exit::{Exit, Failure};
use crate::terminal::{self, harmless};

/// Makes, lists or revokes.
///
/// # Errors
/// [`Failure`].
pub fn run(command: &TokenCommand) -> Result<Exit, Failure> {
    match command {
        TokenCommand::Create {
            user,
            expires_in,
            note,
            grants,
            mode,
        } => {
            let office = Office::open(mode)?;
            let (token, text) = Token::mint();
            let new = NewToken {
                key: token.key.clone(),
                hash: token.hash,
                user: user.clone(),
                note: note.clone(),
                grants: grants.grants(),
                expires_in_s: expires_in.0,
            };
            if !office.with(async |accounts| accounts.add_token(new).await)? {
                return Err(no_such_user(user));
            }
            office.note(AuditKind::Token, format!("{} made for {user}", token.key))?;
            // Alone on stdout, so that it can go into a file or a variable.
            terminal::print(&text)?;
            terminal::tell("this is the only time that it is shown");
        }
        TokenCommand::List { user, json, mode } => {
            let office = Office::open(mode)?;
            let tokens = office.with(async |accounts| accounts.tokens(user.as_ref()).await)?;
            print(&tokens, *json)?;
        }
        TokenCommand::Revoke { key, mode } => {
            let office = Office::open(mode)?;
            let whose = office.with(async |accounts| accounts.revoke_token(key).await)?;
            let Some(user) = whose else {
                return Err(Failure::Failed(format!(
                    "there is no token {key}; see `tasker token list`"
                )));
            };
            office.note(AuditKind::Revoke, format!("{key} of {user}"))?;
            terminal::print(&format!("{key} of {user}: revoked"))?;
        }
    }
    Ok(Exit::OK)
}

#[derive(Serialize)]
struct Listed<'a> {
    key: &'a str,
    user: &'a str,
    note: &'a str,
    grants: &'a Grants,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    last_used_at: Option<String>,
}

fn print(tokens: &[TokenInfo], json: bool) -> Result<(), Failure> {
    if json {
        let listed: Vec<_> = tokens.iter().map(listed).collect();
        let text = serde_json::to_string(&listed).map_err(|e| Failure::Failed(e.to_string()))?;
        return terminal::print(&terminal::pretty(&text));
    }
    let mut table = view::table(&[
        "KEY",
        "USER",
        "ONLY",
        "MADE (UTC)",
        "ENDS",
        "REVOKED",
        "LAST USED",
        "NOTE",
    ]);
    for token in tokens {
        let time = |at: Option<_>, none: &str| at.map_or_else(|| none.to_owned(), view::time);
        table.add_row([
            token.key.to_string(),
            token.user.to_string(),
            only(&token.grants),
            view::time(token.created_at),
            time(token.expires_at, "never"),
            time(token.revoked_at, "–"),
            time(token.last_used_at, "never"),
            harmless(&token.note),
        ]);
    }
    terminal::print(&table.trim_fmt())
}

fn listed(token: &TokenInfo) -> Listed<'_> {
    Listed {
        key: token.key.as_str(),
        user: token.user.as_str(),
        note: &token.note,
        grants: &token.grants,
        created_at: token.created_at.to_rfc3339(),
        expires_at: token.expires_at.map(|at| at.to_rfc3339()),
        revoked_at: token.revoked_at.map(|at| at.to_rfc3339()),
        last_used_at: token.last_used_at.map(|at| at.to_rfc3339()),
    }
}
