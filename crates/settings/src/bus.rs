//! Section `bus`: how the services reach NATS.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Endpoints, Faults};

/// How the services reach NATS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bus {
    /// Address of the NATS server: `nats://` or `tls://`; of a cluster, a list with each server's.
    ///
    /// With a server elsewhere, or a cluster, the suite's own (`marketprism-nats.service`) is not
    /// needed.
    pub url: Endpoints,
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
            url: Endpoints::fixed("nats://127.0.0.1:4230"),
            password_file: None,
            request_timeout: Duration::from_secs(5),
        }
    }
}

impl Bus {
    pub(crate) fn check(&self, faults: &mut Faults) {
        let mut known = BTreeSet::new();
        let mut schemes = BTreeSet::new();
        for (index, endpoint) in self.url.iter().enumerate() {
            let key = match self.url.single() {
                Some(_) => "bus.url".to_owned(),
                None => format!("bus.url[{index}]"),
            };
            faults.scheme(&key, endpoint, &["nats", "tls"]);
            if !known.insert(endpoint) {
                faults.add(&key, format!("names `{endpoint}` a second time"));
            }
            schemes.insert(endpoint.url().scheme());
        }
        if schemes.is_superset(&BTreeSet::from(["nats", "tls"])) {
            let message = "has `nats://` beside `tls://`: passwords would travel in the clear to \
                           some servers";
            faults.add("bus.url", message);
        }
        faults.positive("bus.request_timeout", self.request_timeout);
    }
}
