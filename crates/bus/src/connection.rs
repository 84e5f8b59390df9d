//! One connection to NATS, made in the background and made again for ever.

use crate::observer::{self, Identity, Observer};
use crate::{Metrics, State};
use async_nats::ConnectOptions;
use rand::RngExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use std::future::ready;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::watch;

/// Two unanswered pings end a connection, so a silent server is noticed within three of these.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Dialling and greeting may take this long.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// First and longest delay between attempts to connect; half of it is random, so that the services
/// of a host do not come back in step.
const DELAY_MIN: Duration = Duration::from_millis(50);
const DELAY_MAX: Duration = Duration::from_secs(4);

/// Commands waiting for the connection; when full, the publisher waits or drops by its lane's rule.
const COMMANDS_CAPACITY: usize = 1_024;

/// Messages waiting in a subscription; when full, the newest is dropped and counted. It exceeds
/// [`crate::ACK_PENDING_MAX`], so that blocks always fit.
const SUBSCRIPTION_CAPACITY: usize = 32_768;

/// Why no connection can ever be made with these settings.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `bus.url` is no address of a NATS server.
    #[error("bus.url `{url}` is no NATS address")]
    Url {
        /// The configured text.
        url: String,
        /// What is wrong with it.
        #[source]
        source: async_nats::ConnectError,
    },
    /// The file of `bus.password_file` cannot be read.
    #[error("cannot read bus.password_file {path}")]
    PasswordFile {
        /// The configured path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The credential cannot be read.
    #[error("cannot read credential marketprism.nats-{service}")]
    Credential {
        /// The service whose credential it is.
        service: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What the connected server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its version, such as `2.9.10`.
    pub version: String,
    /// Its name; a random key unless configured.
    pub name: String,
    /// Largest message it takes, headers included, in bytes.
    pub payload_max: usize,
}

/// A connection to NATS. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Bus {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) client: async_nats::Client,
    pub(crate) observer: Arc<Observer>,
    pub(crate) metrics: Metrics,
    pub(crate) timeout: Duration,
    /// Whether the live lane found the connection's queue full and has not got through since.
    pub(crate) live_stalled: AtomicBool,
}

/// Reads the password of a service's NATS user: `bus.password_file` if set, else the credential
/// `marketprism.nats-<service>`, else none.
///
/// # Errors
///
/// [`ConnectError::PasswordFile`] or [`ConnectError::Credential`] if it exists and cannot be read.
pub fn password(
    settings: &settings::Bus,
    credentials: &settings::Credentials,
    service: &'static str,
) -> Result<Option<SecretString>, ConnectError> {
    match &settings.password_file {
        Some(path) => std::fs::read_to_string(path)
            .map(|text| Some(SecretString::from(text.trim_end())))
            .map_err(|source| ConnectError::PasswordFile { path: path.clone(), source }),
        None => credentials
            .get(&format!("nats-{service}"))
            .map_err(|source| ConnectError::Credential { service, source: source.into() }),
    }
}

impl Bus {
    /// Begins to connect as `marketprism-<service>` and returns at once.
    ///
    /// With a password the NATS user has the same name; without, the connection is anonymous.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Url`]; a server that is away is no error but [`State::Connecting`].
    pub async fn connect(
        settings: &settings::Bus,
        service: &'static str,
        password: Option<SecretString>,
        metrics: Metrics,
    ) -> Result<Self, ConnectError> {
        let url = settings.url.to_string();
        let identity = Identity { url: url.clone(), service, has_password: password.is_some() };
        let observer = Arc::new(Observer::new(identity, metrics.clone()));
        // The client tries them in random order, those that failed last.
        let servers: Vec<&str> = settings.url.iter().map(|endpoint| endpoint.as_str()).collect();
        let client = options(service, password, &observer)
            .connect(servers)
            .await
            .map_err(|source| ConnectError::Url { url, source })?;
        let timeout = settings.request_timeout;
        let live_stalled = AtomicBool::new(false);
        let inner = Inner { client, observer, metrics, timeout, live_stalled };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The state of the connection, and its changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.inner.observer.state()
    }

    /// Where it connects to: the address of the server, or of each server of a cluster.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.inner.observer.identity().url
    }

    /// The connected server, or the last one; `None` before the first connection.
    #[must_use]
    pub fn server(&self) -> Option<Server> {
        let info = self.inner.client.try_server_info()?;
        Some(Server {
            version: info.version,
            name: info.server_name,
            payload_max: info.max_payload,
        })
    }

    /// The number of the present connection.
    ///
    /// The client's own state decides: its events pass a queue that may overflow, and one lost
    /// there must not make a live connection unusable.
    pub(crate) fn session(&self) -> Option<u64> {
        let session = || self.inner.observer.state().borrow().session();
        if !self.is_connected() {
            return None;
        }
        session().or_else(|| {
            self.inner.observer.connected();
            session()
        })
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.inner.client.connection_state() == async_nats::connection::State::Connected
    }
}

fn options(
    service: &'static str,
    password: Option<SecretString>,
    observer: &Arc<Observer>,
) -> ConnectOptions {
    let (events, attempts) = (Arc::clone(observer), Arc::clone(observer));
    let mut options = ConnectOptions::new()
        .name(observer::user(service))
        // Each user may read its own inbox only, so that none can listen to another's answers.
        .custom_inbox_prefix(format!("_INBOX.{service}"))
        .retry_on_initial_connect()
        .max_reconnects(None)
        .ignore_discovered_servers()
        .ping_interval(PING_INTERVAL)
        .connection_timeout(DIAL_TIMEOUT)
        .client_capacity(COMMANDS_CAPACITY)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .reconnect_delay_callback(delay)
        .reconnect_to_server_callback(move |servers, _| {
            // Called before every round; the only place that has the causes of the last failures.
            if let Some(error) = last_errors(&servers) {
                attempts.attempt_failed(&error);
            }
            ready(None)
        })
        .event_callback(move |event| {
            events.handle(event);
            ready(())
        });
    if let Some(password) = password {
        let user = observer::user(service);
        options = options.user_and_password(user, password.expose_secret().to_owned());
    }
    options
}

/// Why the last attempts failed: the one error, or each server's.
fn last_errors(servers: &[async_nats::Server]) -> Option<String> {
    if let [server] = servers {
        return server.last_error.clone();
    }
    let failed = servers.iter().filter_map(|server| {
        let error = server.last_error.as_deref()?;
        Some(format!("{server}: {error}"))
    });
    let errors = failed.collect::<Vec<_>>().join("; ");
    (!errors.is_empty()).then_some(errors)
}

/// How long to wait before attempt number `attempt`, from 1.
fn delay(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let most = DELAY_MIN.saturating_mul(2_u32.saturating_pow(doublings)).min(DELAY_MAX);
    most.mul_f64(rand::rng().random_range(0.5..=1.0))
}
