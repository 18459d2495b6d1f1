//! From a host to a connection: the name is resolved once, and what was checked is what is called.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use tasker_core::callback::{Host, Origin};
use tasker_core::public::is_public;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Trouble;

/// How many addresses of a name are tried.
const MAX_ADDRESSES: usize = 3;
/// How long one of them may take to answer.
const CONNECT_WITHIN: Duration = Duration::from_millis(1500);

/// Who knows the addresses of names.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of a name.
    ///
    /// # Errors
    /// Whatever the resolver says.
    async fn addresses(&self, name: &str) -> std::io::Result<Vec<IpAddr>>;
}

/// The system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn addresses(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// A connection to an origin that the list allows.
pub(crate) async fn connect(origin: &Origin, resolver: &dyn Resolve) -> Result<TcpStream, Trouble> {
    let addresses = match origin.host() {
        Host::Address(address) => vec![*address],
        Host::Name(name) => {
            let found = resolver.addresses(name).await;
            found.map_err(|error| Trouble::Unresolved(error.kind().to_string()))?
        }
    };
    if addresses.is_empty() {
        return Err(Trouble::Unresolved("it has no address".to_owned()));
    }
    // One that is not public among others that are is enough to distrust the name.
    let is_explicit = origin.is_loopback();
    if !is_explicit && !addresses.iter().all(|address| is_public(*address)) {
        return Err(Trouble::NotPublic);
    }
    let mut last = String::new();
    for address in addresses.into_iter().take(MAX_ADDRESSES) {
        let address = SocketAddr::new(address, origin.port());
        match timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => last = error.kind().to_string(),
            Err(_) => last = "timed out".to_owned(),
        }
    }
    Err(Trouble::Unreachable(last))
}
