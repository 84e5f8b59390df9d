//! Our alerts for an Alertmanager elsewhere.

use std::time::Duration;

use alert::Active;
use units::UnixNanos;
use url::Url;

use crate::channel::Post;
use crate::error::{SendError, SetupError};
use crate::format::{self, Verdict};
use crate::http::Http;

/// An Alertmanager that gets every alert; cheap to clone.
#[derive(Clone, Debug)]
pub struct Alertmanager {
    name: String,
    url: Url,
    http: Http,
}

impl Alertmanager {
    /// How often what fires must be pushed to go on firing there.
    pub const PUSH_EVERY: Duration = Duration::from_mins(1);

    /// Prepares the way; connects to nothing yet.
    ///
    /// # Errors
    ///
    /// [`SetupError`].
    pub fn new(base: &settings::Endpoint, timeout: Duration) -> Result<Self, SetupError> {
        let url = format!("{base}/api/v2/alerts").parse().map_err(|_| SetupError::Url)?;
        Ok(Self { name: base.to_string(), url, http: Http::new(None, timeout)? })
    }

    /// Its address, as the configuration has it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Pushes alerts: those that fire with an end in four minutes, those that are resolved with
    /// their own.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub async fn push(&self, alerts: &[Active], now: UnixNanos) -> Result<String, SendError> {
        let body = format::postable(alerts, now);
        let (url, verdict) = (self.url.clone(), Verdict::Status);
        self.http.post(Post { url, token: None, body, verdict }).await
    }
}
