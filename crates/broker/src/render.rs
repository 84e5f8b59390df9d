//! Writes the configuration of the suite's own NATS server. Pure.

use secrecy::{ExposeSecret as _, SecretString};
use std::fmt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

mod users;

#[cfg(test)]
mod tests;

pub use users::{Permissions, SERVICES, permissions};

/// Largest message, headers included: [`wire::EVENT_BYTES_MAX`] and room for headers. It is what
/// every version has by default.
const PAYLOAD_MAX: u64 = 1024 * 1024;

/// Memory streams are not used; this is room for one made by hand.
const MEMORY_STORE_MAX: u64 = 64 * 1024 * 1024;

/// The first version that can sync every message to disk.
const SYNC_SINCE: Version = Version { major: 2, minor: 10, patch: 0 };

/// The oldest version this is tested on.
const OLDEST: Version = Version { major: 2, minor: 9, patch: 0 };

/// The version of a NATS server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Incompatible changes.
    pub major: u32,
    /// New features.
    pub minor: u32,
    /// Corrections.
    pub patch: u32,
}

/// A text that is no answer of `nats-server --version`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no version of nats-server")]
pub struct InvalidVersion(String);

impl FromStr for Version {
    type Err = InvalidVersion;

    /// Reads `nats-server: v2.9.10`; what follows the third number is ignored.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidVersion(text.trim().to_owned());
        let numbers = text.trim().rsplit(['v', ' ']).next().ok_or_else(invalid)?;
        let mut numbers = numbers.splitn(3, '.').map(|number| {
            let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
            number[..end].parse().map_err(|_| invalid())
        });
        let mut next = || numbers.next().ok_or_else(invalid)?;
        Ok(Self { major: next()?, minor: next()?, patch: next()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// What the configuration is made from.
#[derive(Debug)]
pub struct Input<'a> {
    /// The section `broker.nats`.
    pub nats: &'a settings::Nats,
    /// The installed server.
    pub version: Version,
    /// Where the streams are kept.
    pub store: PathBuf,
    /// The services with a password; the others cannot log in.
    pub passwords: Vec<(&'static str, SecretString)>,
}

/// Why no configuration is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The server is too old.
    #[error("nats-server {0} is too old, {OLDEST} is the oldest that can be used")]
    TooOld(Version),
    /// Everybody on the network could read and delete everything.
    #[error(
        "broker.nats.listen {0} is beyond loopback and there is no credential \
         marketprism.nats-<service>: anybody could delete the streams"
    )]
    OpenToTheNetwork(std::net::SocketAddr),
    /// The monitoring interface tells everything and asks nobody.
    #[error("broker.nats.monitor {0} must be on loopback: it has no authentication")]
    MonitorBeyondLoopback(std::net::SocketAddr),
    /// A password with characters that the configuration cannot hold safely.
    #[error("credential marketprism.nats-{0} must be printable ASCII and not begin with `$`")]
    Password(&'static str),
}

/// The configuration, and what a person should know about it.
#[derive(Debug)]
pub struct Rendered {
    /// The text of the file. It holds passwords.
    pub text: String,
    /// What is not as good as it could be.
    pub warnings: Vec<String>,
}

/// Writes the configuration.
///
/// # Errors
///
/// [`RenderError`] if the server could not be used or would be open to others.
pub fn render(input: &Input<'_>) -> Result<Rendered, RenderError> {
    let nats = input.nats;
    if input.version < OLDEST {
        return Err(RenderError::TooOld(input.version));
    }
    if input.passwords.is_empty() && !nats.listen.ip().is_loopback() {
        return Err(RenderError::OpenToTheNetwork(nats.listen));
    }
    if !nats.monitor.ip().is_loopback() {
        return Err(RenderError::MonitorBeyondLoopback(nats.monitor));
    }
    let mut warnings = Vec::new();
    let sync = if input.version >= SYNC_SINCE {
        "  sync_interval: always\n"
    } else {
        warnings.push(format!(
            "nats-server {} syncs streams to disk only every two minutes: after a power cut \
             acknowledged blocks may be missing; 2.10 and later sync each block",
            input.version
        ));
        ""
    };
    let users = users(&input.passwords, &mut warnings)?;
    let text = format!(
        "# Written by `marketprism-nats render` for nats-server {version}; overwritten at every \
         start.\n\
         server_name: marketprism\n\
         listen: \"{listen}\"\n\
         http: \"{monitor}\"\n\
         max_payload: {PAYLOAD_MAX}\n\
         # A reader that died must not hold back what it was given.\n\
         ping_interval: \"10s\"\n\
         ping_max: 2\n\
         # The journal has its own times.\n\
         logtime: false\n\
         jetstream {{\n\
         \x20 store_dir: {store}\n\
         \x20 max_memory_store: {MEMORY_STORE_MAX}\n\
         \x20 max_file_store: {max_file_store}\n\
         {sync}}}\n\
         {users}",
        version = input.version,
        listen = nats.listen,
        monitor = nats.monitor,
        store = quoted_path(&input.store),
        max_file_store = nats.max_file_store.bytes(),
    );
    Ok(Rendered { text, warnings })
}

fn users(
    passwords: &[(&'static str, SecretString)],
    warnings: &mut Vec<String>,
) -> Result<String, RenderError> {
    if passwords.is_empty() {
        warnings.push(
            "no credential marketprism.nats-<service>: every process on this host may read, write \
             and delete everything in NATS"
                .to_owned(),
        );
        return Ok(String::new());
    }
    let mut text = "authorization {\n  timeout: 5\n  users: [\n".to_owned();
    for service in SERVICES {
        let Some((_, password)) = passwords.iter().find(|(known, _)| known == service) else {
            warnings.push(format!(
                "no credential marketprism.nats-{service}: marketprism-{service} cannot log in"
            ));
            continue;
        };
        let Permissions { publish, subscribe } = permissions(service);
        let password = quoted_password(service, password)?;
        // Writing to a string cannot fail.
        write!(
            text,
            "    {{ user: \"marketprism-{service}\", password: {password}, permissions: {{\n\
             \x20     publish: {publish:?}\n\
             \x20     subscribe: {subscribe:?}\n\
             \x20   }} }}\n"
        )
        .unwrap_or_default();
    }
    text.push_str("  ]\n}\n");
    Ok(text)
}

/// A password as a string of the configuration's syntax.
///
/// One that begins with `$` would be taken for a bcrypt hash.
fn quoted_password(service: &'static str, password: &SecretString) -> Result<String, RenderError> {
    let text = password.expose_secret();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !is_plain || text.is_empty() || text.starts_with('$') {
        return Err(RenderError::Password(service));
    }
    Ok(quoted(text))
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
