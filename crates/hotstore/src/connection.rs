//! How Redis is reached.

use crate::Failure;
use crate::script::Scripts;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, IntoConnectionInfo as _, ProtocolVersion};
use secrecy::{ExposeSecret as _, SecretString};
use std::path::PathBuf;
use std::time::Duration;

/// The name of the credential that holds the password.
const CREDENTIAL: &str = "redis-storage";
/// What `CLIENT LIST` shows of us.
const NAME: &str = "marketprism";

/// Why no connection can ever be made with these settings.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `storage.hot.redis.url` is no address of a Redis server.
    #[error("storage.hot.redis.url `{url}` is no Redis address")]
    Url {
        /// The configured text.
        url: String,
        /// What is wrong with it.
        #[source]
        source: redis::RedisError,
    },
    /// The file of `storage.hot.redis.password_file` cannot be read.
    #[error("cannot read storage.hot.redis.password_file {path}")]
    PasswordFile {
        /// The configured path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The credential cannot be read.
    #[error("cannot read credential marketprism.redis-storage")]
    Credential {
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Reads the password: `storage.hot.redis.password_file` if set, else the credential
/// `marketprism.redis-storage`, else none.
///
/// # Errors
///
/// [`ConnectError::PasswordFile`] or [`ConnectError::Credential`] if it exists and cannot be read.
pub fn password(
    settings: &settings::Redis,
    credentials: &settings::Credentials,
) -> Result<Option<SecretString>, ConnectError> {
    match &settings.password_file {
        Some(path) => std::fs::read_to_string(path)
            .map(|text| Some(SecretString::from(text.trim_end())))
            .map_err(|source| ConnectError::PasswordFile { path: path.clone(), source }),
        None => credentials
            .get(CREDENTIAL)
            .map_err(|source| ConnectError::Credential { source: source.into() }),
    }
}

/// Makes connections to one server.
#[derive(Debug, Clone)]
pub(crate) struct Dialler {
    client: Client,
    timeout: Duration,
}

/// A connection, and what the server has loaded for it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) manager: ConnectionManager,
    pub(crate) scripts: Scripts,
}

impl Dialler {
    pub(crate) fn new(
        url: &str,
        password: Option<&SecretString>,
        timeout: Duration,
    ) -> Result<Self, ConnectError> {
        let wrong = |source| ConnectError::Url { url: url.to_owned(), source };
        let info = url.into_connection_info().map_err(wrong)?;
        // The third version of the protocol says why it refuses a password.
        let mut login = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name(NAME, env!("CARGO_PKG_VERSION"));
        if let Some(password) = password {
            login = login.set_password(password.expose_secret());
        }
        let client = Client::open(info.set_redis_settings(login)).map_err(wrong)?;
        Ok(Self { client, timeout })
    }

    /// Connects, once: when to try again is the caller's to say.
    ///
    /// A session is for as long as nothing goes wrong with it. The manager would dial again by
    /// itself, but it remembers a refused login for ever, and keeps what a silent server does not
    /// take, try after try.
    pub(crate) async fn dial(&self) -> Result<Session, Failure> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let failed = |error| Failure::of(error, self.timeout);
        let manager = ConnectionManager::new_with_config(self.client.clone(), config);
        let mut manager = manager.await.map_err(failed)?;
        let scripts = Scripts::load(&mut manager).await.map_err(failed)?;
        Ok(Session { manager, scripts })
    }
}
