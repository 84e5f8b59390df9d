//! The listener of the HTTP interface.

use std::io;
use std::net::{SocketAddr, TcpListener};

use anyhow::{Context as _, anyhow};
use settings::Loaded;

/// Listens on the address of a service.
///
/// # Errors
///
/// With the address, where it is configured and, if the port is taken, how to see by whom.
/// Nothing is killed.
pub(crate) fn bind(loaded: &Loaded, service: &str) -> anyhow::Result<TcpListener> {
    let address = loaded
        .suite
        .listen(service)
        .ok_or_else(|| anyhow!("the configuration has no address for `{service}`"))?;
    let origin = loaded.origin(&format!("{service}.listen"));
    TcpListener::bind(address).map_err(|error| {
        let port = address.port();
        let what = format!("cannot listen on {address} ({origin})");
        if error.kind() == io::ErrorKind::AddrInUse {
            anyhow!("{what}: another process does; `ss -ltnp 'sport = :{port}'` shows it to root")
        } else {
            anyhow::Error::new(error).context(what)
        }
    })
}

/// Hands a listener to the runtime.
pub(crate) fn adopt(listener: TcpListener) -> anyhow::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true).context("cannot use the listener")?;
    tokio::net::TcpListener::from_std(listener).context("cannot use the listener")
}

/// Refuses to be reachable from elsewhere when nothing protects the interface.
pub(crate) fn refuse_unprotected(
    loaded: &Loaded,
    service: &str,
    address: SocketAddr,
    has_token: bool,
) -> Result<(), settings::Error> {
    if address.ip().is_loopback() || has_token {
        return Ok(());
    }
    let message = "is beyond loopback, which needs the credential `marketprism.internal-token`";
    Err(loaded.refuse(&[settings::Invalid::new(format!("{service}.listen"), message)]))
}
