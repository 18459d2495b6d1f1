//! Looks tokens up. Requests that come together share one look: a busy system asks the database once
//! for many, an idle one at once. Nothing is remembered, so that a revoked token counts no more at the
//! next request.

use std::sync::Arc;
use std::time::Duration;

use tasker_core::accounts::{Accounts, Valid};
use tasker_core::store::StoreError;
use tasker_core::token::{Token, TokenKey};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::chain::chain;
use crate::outage::Outage;

/// Tokens in one look, at most.
const BATCH: usize = 256;
/// Requests that may wait; more are answered 503.
const QUEUE: usize = 4096;
/// How long a request waits.
const WITHIN: Duration = Duration::from_secs(5);

type Answer = Option<Valid>;
type Question = (TokenKey, oneshot::Sender<Answer>);

/// Where requests ask what their token is worth.
#[derive(Debug, Clone)]
pub(crate) struct Keyring(mpsc::Sender<Question>);

/// It cannot be told now: too many ask, or the ledger is away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotNow;

impl Keyring {
    /// What a token is worth; `None`: nothing.
    pub(crate) async fn worth(&self, token: &Token) -> Result<Option<Valid>, NotNow> {
        let (answer, told) = oneshot::channel();
        let question = (token.key.clone(), answer);
        self.0.try_send(question).map_err(|_| NotNow)?;
        let found = timeout(WITHIN, told).await.map_err(|_| NotNow)?;
        let found = found.map_err(|_| NotNow)?;
        Ok(found.filter(|valid| token.is(&valid.hash)))
    }
}

/// Answers them.
pub(crate) struct Clerk {
    questions: mpsc::Receiver<Question>,
    accounts: Arc<dyn Accounts>,
    ledger: Arc<Outage>,
}

pub(crate) fn keyring(accounts: Arc<dyn Accounts>, ledger: Arc<Outage>) -> (Keyring, Clerk) {
    let (ask, questions) = mpsc::channel(QUEUE);
    let clerk = Clerk {
        questions,
        accounts,
        ledger,
    };
    (Keyring(ask), clerk)
}

impl Clerk {
    /// Until it is told to stop, after the last request.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(1..) = stop
            .run_until_cancelled(self.questions.recv_many(&mut batch, BATCH))
            .await
        {
            let (keys, answers): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
            let found = self.accounts.valid(keys).await;
            self.ledger.learn(&found);
            match found {
                Ok(found) => {
                    for (answer, valid) in answers.into_iter().zip(found) {
                        // A client that went away has no use for it.
                        drop(answer.send(valid));
                    }
                }
                // Who asked learns it from the answer that does not come.
                Err(StoreError::Unavailable(_)) => drop(answers),
                Err(error) => {
                    tracing::error!(error = %chain(&error), "tokens cannot be looked up");
                }
            }
        }
    }
}
