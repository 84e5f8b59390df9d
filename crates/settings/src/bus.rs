//! Section `bus`: how the services reach NATS.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Endpoint, Faults};

/// How the services reach NATS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bus {
    /// Address of the NATS server: `nats://` or `tls://`.
    ///
    /// With a server elsewhere the suite's own (`marketprism-nats.service`) is not needed.
    pub url: Endpoint,
    /// File that holds the password of the user `marketprism-<service>`.
    ///
    /// Not set: the systemd credential `marketprism.nats-<service>`.
    pub password_file: Option<PathBuf>,
    /// How long an answer of the server is waited for.
    #[serde(with = "crate::duration")]
    pub request_timeout: Duration,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            url: Endpoint::fixed("nats://127.0.0.1:4230"),
            password_file: None,
            request_timeout: Duration::from_secs(5),
        }
    }
}

impl Bus {
    pub(crate) fn check(&self, faults: &mut Faults) {
        faults.scheme("bus.url", &self.url, &["nats", "tls"]);
        faults.positive("bus.request_timeout", self.request_timeout);
    }
}
