//! Posts JSON over HTTP.

use std::path::Path;
use std::time::Duration;

use net::Tls;
use secrecy::ExposeSecret as _;

use crate::channel::Post;
use crate::error::{SendError, SetupError};

/// How much of an answer is read; a line is enough to say what is wrong.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// An HTTP client with a limit of time; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    timeout: Duration,
}

impl Http {
    /// Trusts the authorities of a file, or those of this host.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if they cannot be read, or the client cannot be made.
    pub(crate) fn new(ca_file: Option<&Path>, timeout: Duration) -> Result<Self, SetupError> {
        let tls = Tls::new(ca_file)?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured((*tls.config()).clone())
            .timeout(timeout)
            // What was to stay secret is not sent elsewhere because an answer says so.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // A message an hour: no connection is worth keeping.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("marketprism/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(SetupError::Client)?;
        Ok(Self { client, timeout })
    }

    /// Posts and returns what came back, in one line.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub(crate) async fn post(&self, post: Post) -> Result<String, SendError> {
        let mut request = self.client.post(post.url).json(&post.body);
        if let Some(token) = &post.token {
            request = request.bearer_auth(token.expose_secret());
        }
        let mut response = request.send().await.map_err(|error| self.failed(error))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while body.len() < ANSWER_BYTES_MAX
            && let Some(chunk) = response.chunk().await.map_err(|error| self.failed(error))?
        {
            body.extend_from_slice(&chunk);
        }
        body.truncate(ANSWER_BYTES_MAX);
        post.verdict.judge(status, &String::from_utf8_lossy(&body))
    }

    /// Without the URL, which may be a secret.
    fn failed(&self, error: reqwest::Error) -> SendError {
        if error.is_timeout() {
            SendError::Timeout(self.timeout)
        } else {
            SendError::Connection(error.without_url())
        }
    }
}
