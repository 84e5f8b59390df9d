//! What systemd hands over when it starts the process.

use std::net::TcpListener;
use std::os::fd::{FromRawFd as _, IntoRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use libsystemd::activation::{IsType as _, receive_descriptors_with_names};

/// What systemd hands over, read once and before any thread is started.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    /// Sockets that listen already, by the name their unit gives them.
    pub(crate) listeners: Vec<(String, TcpListener)>,
    /// The interval of the watchdog.
    pub(crate) watchdog: Option<Duration>,
    /// The id of this start of the unit.
    pub(crate) invocation: String,
    /// Where to keep what must outlive the process.
    pub(crate) state_directory: Option<PathBuf>,
    /// Where to keep what need not.
    pub(crate) runtime_directory: Option<PathBuf>,
    /// Whether systemd asks for more in the log, after repeated failures (systemd 257).
    pub(crate) debug: bool,
}

impl Handover {
    /// Reads the environment.
    ///
    /// # Errors
    ///
    /// If systemd handed over sockets that cannot be taken.
    pub(crate) fn take() -> anyhow::Result<Self> {
        let mut listeners = Vec::new();
        let descriptors = receive_descriptors_with_names(false)
            .context("cannot take the sockets systemd hands over")?;
        for (descriptor, name) in descriptors {
            // Stored descriptors come the same way; only sockets of the network are ours.
            if descriptor.is_inet() {
                listeners.push((name, listener(descriptor.into_raw_fd())));
            }
        }
        let directory = |variable: &str| {
            let value = std::env::var_os(variable)?.into_string().ok()?;
            // One path for each directory of the unit; ours has one.
            value.split(':').next().filter(|path| !path.is_empty()).map(PathBuf::from)
        };
        Ok(Self {
            listeners,
            watchdog: sd_notify::watchdog_enabled(),
            invocation: std::env::var_os("INVOCATION_ID")
                .and_then(|id| id.into_string().ok())
                .unwrap_or_default(),
            state_directory: directory("STATE_DIRECTORY"),
            runtime_directory: directory("RUNTIME_DIRECTORY"),
            debug: std::env::var_os("DEBUG_INVOCATION").is_some_and(|value| value == "1"),
        })
    }

    /// Takes the listener of that name.
    pub(crate) fn listener(&mut self, name: &str) -> Option<TcpListener> {
        let index = self.listeners.iter().position(|(known, _)| known == name)?;
        Some(self.listeners.swap_remove(index).1)
    }
}

#[expect(unsafe_code, reason = "taking over a descriptor that systemd opened for this process")]
fn listener(descriptor: std::os::fd::RawFd) -> TcpListener {
    // SAFETY: systemd passes the descriptor to this process ($LISTEN_PID is checked), it is open,
    // and nothing else owns it: it is taken once, from the value that held it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    TcpListener::from(descriptor)
}
