//! What a service gets to build itself from.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;
use settings::{Credentials, Suite};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::systemd::Status;

/// What a service gets to build itself from.
#[derive(Debug)]
pub struct Context {
    /// The configuration, which changes at a reload.
    pub suite: watch::Receiver<Arc<Suite>>,
    /// The metrics.
    pub registry: telemetry::Registry,
    /// What the service depends on.
    pub health: Health,
    /// The one line `systemctl status` shows.
    pub status: Status,
    /// Where to keep what must outlive the process; it exists.
    pub state_directory: PathBuf,
    /// Where to keep what need not; it exists.
    pub runtime_directory: PathBuf,
    /// The secrets of the service.
    pub credentials: Credentials,
    /// The token the services show one another, the credential `internal-token`.
    pub internal_token: Option<SecretString>,
    /// A name for this service on this host that tells nothing about the host.
    pub instance: String,
    /// Cancelled when the service begins to stop, before any task is asked to.
    pub stop: CancellationToken,
    pub(crate) listeners: Vec<(String, TcpListener)>,
}

impl Context {
    /// The configuration as it stands.
    #[must_use]
    pub fn suite(&self) -> Arc<Suite> {
        Arc::clone(&self.suite.borrow())
    }

    /// Registers metrics under `marketprism_<service>`.
    pub fn metrics<M>(
        &self,
        register: impl FnOnce(&mut prometheus_client::registry::Registry) -> M,
    ) -> M {
        self.registry.with(register)
    }

    /// Takes a socket that systemd listens on, other than that of the HTTP interface, by the name
    /// its unit gives it.
    pub fn take_listener(&mut self, name: &str) -> Option<TcpListener> {
        let index = self.listeners.iter().position(|(known, _)| known == name)?;
        Some(self.listeners.swap_remove(index).1)
    }
}

/// A name for a service on this host: the same after a restart, another on another host, and not
/// the machine's id, which is a secret.
pub(crate) fn instance(service: &str) -> String {
    // Random once, so that the ids of this suite are its own.
    const APPLICATION: [u8; 16] =
        *b"\x8f\x1e\x36\x5a\x9d\x43\x4c\x07\xb2\x6e\x51\xc8\x0a\xf3\x7d\x24";
    let application = libsystemd::id128::Id128::from_bytes(APPLICATION);
    match libsystemd::id128::get_machine_app_specific(&application) {
        Ok(id) => format!("{service}-{}", &id.lower_hex()[..8]),
        // No machine id, as in a bare container.
        Err(_) => service.to_owned(),
    }
}
