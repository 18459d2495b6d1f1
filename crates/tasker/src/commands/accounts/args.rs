//! The command line of `tasker user`, `tasker token` and `tasker audit`.

use clap::{Args, Subcommand};
use tasker_core::account::{EndpointGlob, Grants, Role};
use tasker_core::accounts::AuditKind;
use tasker_core::token::TokenKey;
use tasker_core::{Client, TaskType};

use crate::cli::ModeArgs;

/// `tasker user`.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user; its password is asked for, or read from stdin (one line)
    Add {
        /// Its name
        name: Client,
        /// What it is there for: admin, operator, client, viewer, server or worker
        #[arg(long, value_parser = parse_role)]
        role: Role,
        /// It shall use tokens only
        #[arg(long)]
        no_password: bool,
        /// What of its role it may touch.
        #[command(flatten)]
        grants: GrantArgs,
        /// Which configuration.
        #[command(flatten)]
        mode: ModeArgs,
    },
    /// List users
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Which configuration.
        #[command(flatten)]
        mode: ModeArgs,
    },
    /// Give a user another password; it is asked for, or read from stdin (one line)
    Password {
        /// Its name
        name: Client,
        /// Which configuration.
        #[command(flatten)]
        mode: ModeArgs,
    },
    /// Remove a user and all its tokens; what it made stays
    Remove {
        /// Its name
        name: Client,
        /// Which configuration.
        #[command(flatten)]
        mode: ModeArgs,
    },
}

/// `tasker token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token of a user and print it, this once
    Create {
        /// Whose
        user: Client,
        /// How long it lives: a number with s, m, h or d, or never
        #[arg(long, value_name = "SPAN", default_value = "90d", value_parser = parse_span)]
        expires_in: Span,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "", value_parser = parse_note)]
        note: String,
        /// What of the user's it may touch.
        #[command(flatten)]
        grants: GrantArgs,
        /// Which configuration.
        #[command(flatten)]
        mode: ModeArgs,
    },
    /// List tokens, without their secrets
    List {
        /// Only this user's
        #[arg(long)]
        user: Option<Client>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Which configuration.
        #[command(flatten)]
        mode: ModeArgs,
    },
    /// Revoke a token; it counts no more from the next request on
    Revoke {
        /// Its key: the 12 characters after tsk_
        key: TokenKey,
        /// Which configuration.
        #[command(flatten)]
        mode: ModeArgs,
    },
}

/// `tasker audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Only of this kind: accept, deny, login, token, revoke or user
    #[arg(long, value_parser = parse_kind)]
    pub kind: Option<AuditKind>,
    /// Only what this user did
    #[arg(long, value_name = "NAME")]
    pub who: Option<Client>,
    /// How many at most, newest first
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
    /// Which configuration.
    #[command(flatten)]
    pub mode: ModeArgs,
}

/// What of a role may be touched.
#[derive(Debug, Args)]
pub struct GrantArgs {
    /// Only this task type; several times, or separated by commas
    #[arg(long, value_delimiter = ',', value_name = "TYPE")]
    task_type: Vec<TaskType>,
    /// Only endpoints like this: * stands for any characters, ? for one; several times, or separated by
    /// commas
    #[arg(long, value_delimiter = ',', value_name = "GLOB")]
    endpoint: Vec<EndpointGlob>,
    /// Nothing may be made or changed
    #[arg(long)]
    read_only: bool,
}

impl GrantArgs {
    pub(super) fn grants(&self) -> Grants {
        Grants {
            task_types: (!self.task_type.is_empty()).then(|| self.task_type.clone()),
            endpoints: (!self.endpoint.is_empty()).then(|| self.endpoint.clone()),
            read_only: self.read_only,
        }
    }
}

/// A life span in seconds; `None`: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Option<u32>);

fn parse_role(text: &str) -> Result<Role, String> {
    Role::from_word(text).ok_or_else(|| {
        let words: Vec<_> = Role::ALL.iter().map(|role| role.as_str()).collect();
        format!("must be one of {}", words.join(", "))
    })
}

fn parse_kind(text: &str) -> Result<AuditKind, String> {
    AuditKind::from_word(text).ok_or_else(|| {
        let words: Vec<_> = AuditKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("must be one of {}", words.join(", "))
    })
}

fn parse_note(text: &str) -> Result<String, String> {
    let is_short = text.chars().count() <= 200;
    is_short
        .then(|| text.to_owned())
        .ok_or_else(|| "at most 200 characters".to_owned())
}

fn parse_span(text: &str) -> Result<Span, String> {
    const WANTED: &str = "must be never, or a number with s, m, h or d, at most 3650d";
    if text == "never" {
        return Ok(Span(None));
    }
    let unit = text.chars().last().unwrap_or_default();
    let factor: u32 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(WANTED.to_owned()),
    };
    let number: Option<u32> = text[..text.len() - 1].parse().ok();
    let seconds = number.and_then(|number| number.checked_mul(factor));
    match seconds {
        Some(seconds @ 1..=315_360_000) => Ok(Span(Some(seconds))),
        _ => Err(WANTED.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit() {
        for (text, expected) in [
            ("90d", Some(Span(Some(7_776_000)))),
            ("1s", Some(Span(Some(1)))),
            ("2m", Some(Span(Some(120)))),
            ("12h", Some(Span(Some(43_200)))),
            ("never", Some(Span(None))),
            ("", None),
            ("d", None),
            ("0d", None),
            ("-1d", None),
            ("90", None),
            ("9é", None),
            ("99999d", None),
        ] {
            assert_eq!(parse_span(text).ok(), expected, "{text}");
        }
    }
}
