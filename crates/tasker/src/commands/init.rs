//! `tasker init`: prepares the database and RabbitMQ.

use crate::cli::InitArgs;
use crate::config::{self, Config, Credentials, DbConfig, MessageQueue, Needs, RabbitmqConfig};
use crate::exit::{Exit, Failure};
use crate::rabbitmq::api::{ApiError, ManagementApi};
use crate::rabbitmq::rights::Rights;
use crate::rabbitmq::setup::Setup;
use crate::{logging, terminal, wiring};

/// The virtual host that every RabbitMQ server has and others use.
const DEFAULT_VHOST: &str = "/";

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Ca(_) => Self::Usage(error.to_string()),
            ApiError::Unreachable { .. } | ApiError::Strange { .. } => {
                Self::Unavailable(error.to_string())
            }
            ApiError::Denied { .. } | ApiError::Missing { .. } | ApiError::Refused { .. } => {
                Self::Failed(error.to_string())
            }
        }
    }
}

/// Prepares what was asked for; both if neither was.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &InitArgs) -> Result<Exit, Failure> {
    let both = !args.database && !args.rabbitmq;
    let (with_db, with_broker) = (both || args.database, both || args.rabbitmq);
    let needs = Needs {
        db: with_db,
        ..if with_broker {
            Needs::INIT
        } else {
            Needs::NOTHING
        }
    };
    let config = config::load(&args.mode.mode, args.mode.config.as_deref(), needs)?;
    logging::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::Failed(e.to_string()))?;
    let broker = BrokerInit::of(&config)?;
    // Everything is asked before anything is deleted.
    if args.reset && !args.yes && config.mode != "development" {
        if let Some(db) = &config.db {
            refuse_reset(
                !runtime.block_on(wiring::is_empty(db))?,
                "the database",
                &db.uri,
            )?;
        }
        if let Some(broker) = &broker {
            refuse_reset(
                broker.api.has_vhost()?,
                "the virtual host",
                broker.api.vhost(),
            )?;
        }
    }
    if let Some(broker) = broker
        .as_ref()
        .filter(|b| args.reset && b.api.vhost() == DEFAULT_VHOST)
    {
        let vhost = broker.api.vhost();
        let message = format!("the virtual host {vhost:?} is everybody's and is not deleted");
        return Err(Failure::Usage(message));
    }
    if let Some(db) = &config.db {
        runtime.block_on(database(db, args.reset))?;
    }
    if let Some(broker) = broker {
        broker.run(args.reset)?;
    }
    Ok(Exit::OK)
}

fn refuse_reset(is_in_use: bool, what: &str, name: impl std::fmt::Display) -> Result<(), Failure> {
    if is_in_use {
        let message = format!("{what} {name} is in use; to delete everything in it, add --yes");
        return Err(Failure::Usage(message));
    }
    Ok(())
}

async fn database(db: &DbConfig, reset: bool) -> Result<(), Failure> {
    if reset {
        wiring::reset(db).await?;
    } else {
        wiring::migrate(db).await?;
    }
    terminal::print(&format!("database {}: ready", db.uri))
}

/// What preparing the broker needs.
struct BrokerInit<'a> {
    api: ManagementApi,
    config: &'a Config,
    queue: &'a MessageQueue,
    rabbitmq: &'a RabbitmqConfig,
}

impl<'a> BrokerInit<'a> {
    fn of(config: &'a Config) -> Result<Option<Self>, Failure> {
        let (Some(queue), Some(rabbitmq)) = (&config.message_queue, &config.rabbitmq) else {
            return Ok(None);
        };
        Ok(Some(Self {
            api: ManagementApi::new(rabbitmq, &queue.virtual_host)?,
            config,
            queue,
            rabbitmq,
        }))
    }

    fn run(&self, reset: bool) -> Result<(), Failure> {
        let (api, setup) = (&self.api, Setup::new(&self.api, self.queue));
        if reset {
            api.delete_vhost()?;
        }
        api.put_vhost()?;
        // Needed to make the objects; the broker gives it by itself only when it makes the host.
        let administrator = &self.rabbitmq.account.username;
        api.put_rights(administrator, &Rights::of_administrator())?;
        setup.put_shared(&self.config.names())?;
        setup.put_policies()?;

        let names = setup.names();
        if let Some(account) = &self.queue.account {
            self.put_user(account, &Rights::of_api(names))?;
        }
        let is_endpoint = |account: &Credentials| setup.user_owner(&account.username).is_some();
        match &self.config.worker.account {
            Some(account) if !is_endpoint(account) => {
                self.put_user(account, &Rights::of_all_workers(names))?;
            }
            _ => terminal::print(
                "no common account for workers is configured; `tasker endpoint add` makes one for \
                 each endpoint",
            )?,
        }
        terminal::print(&format!(
            "RabbitMQ {}, virtual host {:?}: ready",
            self.rabbitmq.apiurl,
            api.vhost()
        ))
    }

    fn put_user(&self, account: &Credentials, rights: &Rights) -> Result<(), Failure> {
        let name = &account.username;
        if *name == self.rabbitmq.account.username {
            // Making it anew would take its administrator's tag away.
            terminal::print(&format!(
                "{name:?} is the administrator; it is left as it is"
            ))?;
            return Ok(());
        }
        self.api.put_user(name, &account.password)?;
        Ok(self.api.put_rights(name, rights)?)
    }
}
