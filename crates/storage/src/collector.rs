//! Asks the collector to fetch what is missing, and what the venues list.

use crate::audit::HoleFound;
use anyhow::Context as _;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::request::Builder;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use settings::{Endpoint, Suite};
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Chain;
use tokio::sync::watch;
use tokio::time::timeout;

/// Its name among the services.
const NAME: &str = "collector";
/// How long it may take to take a request; the fetching comes after the answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Ids of one order, as many as the collector takes; the next audit sees the rest.
const IDS_MAX: u64 = 10_000_000;
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Largest answer with what the venues list: ten times what all of them do.
const LIST_BYTES_MAX: usize = 32 << 20;

/// The way to the collector; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Collector {
    client: Client<HttpConnector, Full<Bytes>>,
    token: Option<HeaderValue>,
    suite: watch::Receiver<Arc<Suite>>,
}

/// Why a backfill was not started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotStarted {
    /// The collector did not answer; it need not be asked for the next.
    Away(String),
    /// It answered that it will not, or something that is no yes.
    Refused(String),
}

/// What is to be fetched: the ids between the two, and when they were, in nanoseconds since the
/// epoch, as far as that is known.
#[derive(Serialize)]
struct Wish<'a> {
    venue: &'static str,
    market: &'static str,
    symbol: &'a str,
    kind: &'static str,
    after_id: u64,
    before_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

/// What the collector says when it has started.
#[derive(Deserialize)]
struct Started {
    gap_id: String,
}

/// What it says when it has not.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    detail: String,
}

impl Collector {
    /// A client that identifies itself with the internal token, if there is one.
    pub(crate) fn new(
        suite: watch::Receiver<Arc<Suite>>,
        token: Option<&SecretString>,
    ) -> anyhow::Result<Self> {
        let token = token
            .map(|token| {
                let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))?;
                value.set_sensitive(true);
                anyhow::Ok(value)
            })
            .transpose()
            .context("the internal token cannot be sent")?;
        // It is asked once an hour or so: no connection is worth keeping.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        Ok(Self { client, token, suite })
    }

    /// Asks for the ids of a hole; the answer is the id of the gap record that follows it.
    pub(crate) async fn backfill(&self, found: &HoleFound) -> Result<String, NotStarted> {
        let Some(service) = self.service() else {
            let reason = format!("`monitoring.services` has no `{NAME}`");
            return Err(NotStarted::Away(reason));
        };
        let request = self.request(&service, found).map_err(NotStarted::Refused)?;
        match timeout(ANSWER_MAX, self.exchange(request, ANSWER_BYTES_MAX)).await {
            Ok(Ok((status, body))) => read(status, &body),
            Ok(Err(error)) => Err(NotStarted::Away(format!("the collector is away: {error}"))),
            Err(_) => Err(NotStarted::Away("the collector does not answer in time".to_owned())),
        }
    }

    /// Asks for every instrument that the venues list; the answer is JSON.
    pub(crate) async fn instruments(&self) -> anyhow::Result<Bytes> {
        let service = self.service();
        let service = service.with_context(|| format!("`monitoring.services` has no `{NAME}`"))?;
        let request = Request::get(format!("{service}/api/v1/collector/instruments"));
        let request = self.authorize(request).body(Full::new(Bytes::new()))?;
        let answer = timeout(ANSWER_MAX, self.exchange(request, LIST_BYTES_MAX)).await;
        let answer = answer.context("the collector does not answer in time")?;
        let away = |error: String| anyhow::anyhow!("the collector is away: {error}");
        let (status, body) = answer.map_err(away)?;
        anyhow::ensure!(status == StatusCode::OK, "the collector answers {status}");
        Ok(body)
    }

    /// Where the collector is.
    fn service(&self) -> Option<Endpoint> {
        self.suite.borrow().monitoring.services.get(NAME).cloned()
    }

    fn authorize(&self, request: Builder) -> Builder {
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, token),
            None => request,
        }
    }

    fn request(
        &self,
        service: &Endpoint,
        found: &HoleFound,
    ) -> Result<Request<Full<Bytes>>, String> {
        let HoleFound { kind, stream, hole, since, until, .. } = found;
        let wish = Wish {
            venue: stream.venue.as_str(),
            market: stream.market.as_str(),
            symbol: stream.symbol.as_str(),
            kind: kind.as_str(),
            after_id: hole.first.saturating_sub(1),
            before_id: hole.last.min(hole.first.saturating_add(IDS_MAX - 1)).saturating_add(1),
            since: *since,
            until: *until,
        };
        let body = serde_json::to_vec(&wish).map_err(|error| error.to_string())?;
        let request = Request::post(format!("{service}/api/v1/collector/backfill"))
            .header(CONTENT_TYPE, "application/json");
        let request = self.authorize(request).body(Full::new(Bytes::from(body)));
        request.map_err(|error| error.to_string())
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        bytes_max: usize,
    ) -> Result<(StatusCode, Bytes), String> {
        let response = self.client.request(request).await.map_err(|error| {
            // The client's own text says only that it failed; the cause says how.
            error.source().map_or_else(|| error.to_string(), |cause| Chain(cause).to_string())
        })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), bytes_max).collect().await;
        let body = body.map_err(|error| format!("the answer broke off: {error}"))?;
        Ok((status, body.to_bytes()))
    }
}

fn read(status: StatusCode, body: &[u8]) -> Result<String, NotStarted> {
    if status == StatusCode::ACCEPTED {
        return serde_json::from_slice::<Started>(body)
            .map(|started| started.gap_id)
            .map_err(|error| NotStarted::Refused(format!("its answer has no gap_id: {error}")));
    }
    let Refusal { detail } = serde_json::from_slice(body).unwrap_or_default();
    let reason = if detail.is_empty() {
        format!("the collector answers {status}")
    } else {
        format!("the collector answers {status}: {detail}")
    };
    Err(NotStarted::Refused(reason))
}
