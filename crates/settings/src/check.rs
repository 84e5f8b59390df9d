//! Values that have the right type and still cannot work.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::{Endpoint, Suite};

/// A key whose value cannot work.
///
/// `Service::check` returns it to have the harness print file and line of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` {message}")]
pub struct Invalid {
    /// The key, such as `scheduler.tasks[2].id`.
    pub key: String,
    /// What is wrong, as the end of a sentence that begins with the key.
    pub message: String,
}

impl Invalid {
    /// Says what is wrong with a key, as the end of a sentence that begins with the key.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}

/// What was found wrong so far.
#[derive(Debug, Default)]
pub struct Faults(Vec<Invalid>);

impl Faults {
    /// Notes a key whose value cannot work.
    pub fn add(&mut self, key: &str, message: impl Into<String>) {
        self.0.push(Invalid::new(key, message));
    }

    /// Notes a duration of zero.
    pub fn positive(&mut self, key: &str, duration: Duration) {
        if duration.is_zero() {
            self.add(key, "must be longer than zero");
        }
    }

    /// Notes a number of zero.
    pub fn nonzero(&mut self, key: &str, number: u64) {
        if number == 0 {
            self.add(key, "must not be zero");
        }
    }

    /// Notes an address with another scheme than these.
    pub fn scheme(&mut self, key: &str, endpoint: &Endpoint, schemes: &[&str]) {
        if !schemes.contains(&endpoint.url().scheme()) {
            let expected =
                schemes.iter().map(|scheme| format!("`{scheme}://`")).collect::<Vec<_>>();
            self.add(key, format!("must start with {}", expected.join(" or ")));
        }
    }

    /// Notes what no proxy can be of the keys `proxy` and `proxy_auth_file` of a section.
    pub(crate) fn proxy(&mut self, section: &str, proxy: Option<&Endpoint>, has_auth: bool) {
        let key = format!("{section}.proxy");
        let Some(proxy) = proxy else {
            if has_auth {
                let message = "is for the `proxy` beside it, which is not set";
                self.add(&format!("{section}.proxy_auth_file"), message);
            }
            return;
        };
        self.scheme(&key, proxy, &["http", "socks5"]);
        if !proxy.url().username().is_empty() {
            self.add(&key, "must not name a user: user and password are in `proxy_auth_file`");
        }
        if !matches!(proxy.url().path(), "" | "/") {
            self.add(&key, "must end with the port");
        }
    }

    /// Everything that was noted, in order.
    #[must_use]
    pub fn into_vec(self) -> Vec<Invalid> {
        self.0
    }
}

impl Suite {
    /// Everything that has the right type and still cannot work.
    #[must_use]
    pub fn faults(&self) -> Vec<Invalid> {
        let mut faults = Faults::default();
        self.bus.check(&mut faults);
        self.gateway.check(&mut faults);
        self.collector.check(&mut faults);
        self.storage.check(&mut faults);
        self.monitoring.check(&mut faults);
        let services = self.monitoring.services.keys().map(String::as_str).collect::<BTreeSet<_>>();
        self.scheduler.check(&services, &mut faults);
        self.broker.check(&mut faults);
        self.telemetry.check(&mut faults);
        faults.into_vec()
    }
}
