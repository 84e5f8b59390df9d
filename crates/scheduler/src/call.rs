//! Calls a service over HTTP.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use secrecy::{ExposeSecret as _, SecretString};
use settings::{Endpoint, Task};
use telemetry::Chain;

use crate::run::Answer;

/// How much of an answer's body the history keeps.
const HEAD_BYTES: usize = 1_024;

/// The HTTP client of this service; cheap to clone.
#[derive(Clone, Debug)]
pub struct Caller {
    client: Client<HttpConnector, Full<Bytes>>,
    token: Option<HeaderValue>,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// A whole answer, with whatever status.
    Answered(Answer),
    /// No answer in the task's time.
    TimedOut,
    /// No answer, or it broke off.
    Failed(String),
}

impl Caller {
    /// A client that identifies itself with the internal token, if there is one.
    ///
    /// # Errors
    ///
    /// If the token has characters that a header cannot carry.
    pub fn new(token: Option<&SecretString>) -> Result<Self, http::header::InvalidHeaderValue> {
        let token = token
            .map(|token| {
                let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))?;
                value.set_sensitive(true);
                Ok(value)
            })
            .transpose()?;
        // A task runs once an hour or so: no connection is worth keeping.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        Ok(Self { client, token })
    }

    /// Asks the service as the task says, within the task's timeout. `key` names the run: a service
    /// that sees the same `Idempotency-Key` twice may know that it has done this already.
    pub async fn call(&self, service: &Endpoint, task: &Task, key: &str) -> Called {
        let request = match self.request(service, task, key) {
            Ok(request) => request,
            Err(error) => return Called::Failed(error),
        };
        self.within(task.timeout, request).await
    }

    /// Asks a service for something that belongs to no task.
    pub async fn get(&self, service: &Endpoint, path: &str, timeout: Duration) -> Called {
        let mut request = Request::builder().method(Method::GET).uri(format!("{service}{path}"));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        match request.body(Full::new(Bytes::new())) {
            Ok(request) => self.within(timeout, request).await,
            Err(error) => Called::Failed(error.to_string()),
        }
    }

    async fn within(&self, timeout: Duration, request: Request<Full<Bytes>>) -> Called {
        match tokio::time::timeout(timeout, self.exchange(request)).await {
            Ok(Ok(answer)) => Called::Answered(answer),
            Ok(Err(error)) => Called::Failed(error),
            Err(_) => Called::TimedOut,
        }
    }

    fn request(
        &self,
        service: &Endpoint,
        task: &Task,
        key: &str,
    ) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::builder()
            .method(method(task.method))
            .uri(format!("{service}{}", task.path))
            .header("idempotency-key", key);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let body = match &task.body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        request.body(Full::new(body)).map_err(|error| error.to_string())
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let response = self.client.request(request).await.map_err(|error| {
            // The client's own text says only that it failed; the cause says how.
            error.source().map_or_else(|| error.to_string(), |cause| Chain(cause).to_string())
        })?;
        read(response).await
    }
}

/// Reads the body to its end, because only then the service is done, and keeps its beginning.
async fn read(mut response: Response<Incoming>) -> Result<Answer, String> {
    let mut head = Vec::new();
    let mut bytes = 0_u64;
    while let Some(frame) = response.body_mut().frame().await {
        let frame = frame.map_err(|error| format!("the answer broke off: {error}"))?;
        if let Ok(data) = frame.into_data() {
            bytes = bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
            let room = HEAD_BYTES - head.len();
            head.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(Answer {
        status: response.status().as_u16(),
        bytes,
        head: String::from_utf8_lossy(&head).into_owned(),
    })
}

const fn method(method: settings::Method) -> Method {
    match method {
        settings::Method::Get => Method::GET,
        settings::Method::Post => Method::POST,
        settings::Method::Put => Method::PUT,
        settings::Method::Delete => Method::DELETE,
    }
}

/// The method as it is written in the history.
#[must_use]
pub const fn method_name(method: settings::Method) -> &'static str {
    match method {
        settings::Method::Get => "GET",
        settings::Method::Post => "POST",
        settings::Method::Put => "PUT",
        settings::Method::Delete => "DELETE",
    }
}
