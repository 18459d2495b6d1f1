//! Who sent a request, as the guard of the routes found out.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use tasker_core::account::{Grants, Role};
use tasker_core::token::TokenKey;
use tasker_core::{Client, ClientScope, EndpointName, TaskType};

use super::problem::{Code, Problem};
use crate::auth::Known;

/// How many endpoints out of reach are told.
const MAX_TOLD: usize = 100;

/// Who sent a request. Handlers get it from the guard; nothing else makes one.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Arc<Identity>);

#[derive(Debug)]
struct Identity {
    role: Role,
    scope: ClientScope,
    /// The user's and the token's; both must allow.
    grants: Vec<Grants>,
    token: Option<TokenKey>,
}

impl Caller {
    /// Everybody, where nobody says who they are.
    pub(super) fn anybody() -> Self {
        Self::of(Known {
            user: Client::local(),
            role: Role::Admin,
            grants: Vec::new(),
            token: None,
        })
    }

    pub(super) fn of(known: Known) -> Self {
        let Known {
            user,
            role,
            grants,
            token,
        } = known;
        let scope = if role.sees_all() {
            ClientScope::all(user)
        } else {
            ClientScope::own(user)
        };
        Self(Arc::new(Identity {
            role,
            scope,
            grants,
            token,
        }))
    }

    /// Whose things it works on.
    pub(crate) fn scope(&self) -> &ClientScope {
        &self.0.scope
    }

    /// What it is there for.
    pub(crate) fn role(&self) -> Role {
        self.0.role
    }

    /// The token that it showed.
    pub(crate) fn token(&self) -> Option<&TokenKey> {
        self.0.token.as_ref()
    }

    /// Whether it may only read.
    pub(crate) fn is_read_only(&self) -> bool {
        self.0.grants.iter().any(|grants| grants.read_only)
    }

    /// Whether it may touch a task type at all.
    pub(crate) fn may_touch(&self, task_type: &TaskType) -> bool {
        self.0
            .grants
            .iter()
            .all(|grants| grants.allow_type(task_type))
    }

    /// Checks that it may give tasks to these endpoints; `None`: to whoever is there.
    pub(crate) fn reach(&self, endpoints: Option<&[EndpointName]>) -> Result<(), Problem> {
        let grants = &self.0.grants;
        let Some(endpoints) = endpoints else {
            if grants.iter().all(Grants::allow_every_endpoint) {
                return Ok(());
            }
            let detail = "The account may give tasks to some endpoints only: name them.";
            return Err(Problem::new(Code::Forbidden, detail).with(
                "endpoints",
                "must be given, with endpoints of the account's",
            ));
        };
        let is_out = |name: &&EndpointName| !grants.iter().all(|g| g.allow_endpoint(name));
        let out: Vec<_> = endpoints.iter().filter(is_out).take(MAX_TOLD).collect();
        if out.is_empty() {
            return Ok(());
        }
        let detail = "The account may not give tasks to some of these endpoints.";
        let problem = Problem::new(Code::Forbidden, detail);
        Err(out.into_iter().fold(problem, |problem, name| {
            problem.with(
                "endpoints",
                &format!("{name} is out of the account's reach"),
            )
        }))
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = req.extensions().get::<Self>().cloned();
        ready(caller.ok_or_else(|| {
            tracing::error!(path = req.path(), "a request passed no guard");
            Problem::internal()
        }))
    }
}
