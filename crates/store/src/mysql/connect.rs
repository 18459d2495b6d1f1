//! One connection, with or without TLS.

use diesel::ConnectionError;
use diesel_async::AsyncConnection;
use mysql_async::{DriverError, Error, Opts, OptsBuilder, SslOpts};
use tasker_tls::Ca;

use super::Conn;

/// Connects. With a CA the server has to prove that it is the host of the URL, before it is told the
/// account.
pub(crate) async fn establish(url: &str, tls: Option<&Ca>) -> Result<Conn, ConnectionError> {
    let Some(ca) = tls else {
        return Conn::establish(url).await.map_err(hint);
    };
    let opts = Opts::from_url(url)
        .map_err(|error| ConnectionError::InvalidConnectionUrl(error.to_string()))?;
    let host = opts.ip_or_hostname().to_owned();
    let roots = ca.certificates().map(|der| der.to_vec().into()).collect();
    let ssl = SslOpts::default()
        .with_root_certs(roots)
        .with_disable_built_in_roots(true);
    let opts = OptsBuilder::from_opts(opts)
        // As diesel-async connects by itself: it keeps the statements, and counts the rows found.
        .stmt_cache_size(0)
        .client_found_rows(true)
        // Not over to a socket that the server names.
        .prefer_socket(false)
        .ssl_opts(ssl);
    let conn = mysql_async::Conn::new(opts)
        .await
        .map_err(|error| ConnectionError::BadConnection(told(&error, &host)))?;
    Conn::try_from(conn).await
}

/// MariaDB tells those who come without TLS no more than that they are refused.
fn hint(error: ConnectionError) -> ConnectionError {
    let text = error.to_string();
    if !text.starts_with("Access denied") {
        return error;
    }
    let hint = "or it lets nobody in without TLS, see manager.db.tls";
    ConnectionError::BadConnection(format!("{text}, {hint}"))
}

/// Why there is no connection.
fn told(error: &Error, host: &str) -> String {
    if matches!(error, Error::Driver(DriverError::NoClientSslFlagFromServer)) {
        return format!("TLS with {host}: it offers none, and manager.db.tls asks for it");
    }
    match tasker_tls::reason(error) {
        Some(reason) => format!("TLS with {host}: {reason}"),
        None => error.to_string(),
    }
}
