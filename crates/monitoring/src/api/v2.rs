//! Alertmanager's interface, version 2, for `amtool`, Grafana and Prometheus.
//!
//! Alerts of our rules and those that others post are shown alike. Refusals are JSON texts, as
//! Alertmanager's are.
//!
//! Source: <https://github.com/prometheus/alertmanager/blob/v0.28.0/api/v2/openapi.yaml>.

mod document;

use std::sync::Arc;

use alert::{Active, Labels, Matcher, MatcherError, Silence, SilenceState, all_match};
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use daemon::clock;
use serde_json::{Value, json};
use telemetry::Chain;
use tokio::sync::oneshot;
use units::UnixNanos;
use web::{Body, Path};

use self::document::{PostableAlert, PostableSilence, gettable, shown, time};
use super::Access;
use crate::request::{Request, RequestError};
use crate::view::View;

/// The routes.
pub(super) fn router(access: Access) -> Router {
    Router::new()
        .route("/api/v2/status", get(status))
        .route("/api/v2/receivers", get(receivers))
        .route("/api/v2/alerts", get(alerts).post(post_alerts))
        .route("/api/v2/alerts/groups", get(groups))
        .route("/api/v2/silences", get(silences).post(post_silence))
        .route("/api/v2/silence/{id}", get(silence).delete(expire))
        .with_state(access)
}

/// A refusal in Alertmanager's manner.
#[derive(Debug)]
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

impl Refusal {
    fn bad(error: &(dyn std::error::Error + 'static)) -> Self {
        Self(StatusCode::BAD_REQUEST, Chain(error).to_string())
    }

    /// The task is gone, since the service stops.
    fn stopping() -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, "the service stops".to_owned())
    }
}

impl From<MatcherError> for Refusal {
    fn from(error: MatcherError) -> Self {
        Self::bad(&error)
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        match &error {
            RequestError::Silence(alert::SilenceError::Unknown) => {
                Self(StatusCode::NOT_FOUND, error.to_string())
            }
            RequestError::Silence(_) => Self::bad(&error),
            RequestError::State(_) => {
                Self(StatusCode::INTERNAL_SERVER_ERROR, Chain(&error).to_string())
            }
        }
    }
}

/// Which alerts or silences are wanted.
#[derive(Debug)]
struct Wanted {
    matchers: Vec<Matcher>,
    receiver: Option<Matcher>,
    active: bool,
    silenced: bool,
    inhibited: bool,
}

impl Wanted {
    /// From a query in which `filter` may be there several times.
    fn parse(query: Option<&str>) -> Result<Self, Refusal> {
        let mut wanted = Self {
            matchers: Vec::new(),
            receiver: None,
            active: true,
            silenced: true,
            inhibited: true,
        };
        let query = query.unwrap_or_default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let flag = || {
                value.parse::<bool>().map_err(|_| {
                    Refusal(StatusCode::BAD_REQUEST, format!("{name} is true or false"))
                })
            };
            match &*name {
                "filter" => wanted.matchers.push(value.parse()?),
                "receiver" => {
                    let pattern = Matcher::new("receiver", alert::Operator::Matches, &value)?;
                    wanted.receiver = Some(pattern);
                }
                "active" => wanted.active = flag()?,
                "silenced" => wanted.silenced = flag()?,
                "inhibited" => wanted.inhibited = flag()?,
                // No alert here is unprocessed, and what is not known is ignored as Alertmanager
                // does.
                _ => {}
            }
        }
        Ok(wanted)
    }

    /// Whether an alert is wanted that goes to these receivers.
    fn accepts(&self, told: &crate::alerting::Told, receivers: &[String]) -> bool {
        let suppression = &told.suppression;
        told.active.ends_at.is_none()
            && (self.active || suppression.is_suppressed())
            && (self.silenced || suppression.silenced_by.is_empty())
            && (self.inhibited || suppression.inhibited_by.is_empty())
            && all_match(&self.matchers, &told.active.labels)
            && self.accepts_receiver(receivers)
    }

    fn accepts_receiver(&self, receivers: &[String]) -> bool {
        self.receiver.as_ref().is_none_or(|pattern| {
            receivers
                .iter()
                .any(|name| pattern.matches(&Labels::from([("receiver".to_owned(), name.clone())])))
        })
    }
}

async fn status(State(access): State<Access>) -> Json<Value> {
    let view = Arc::clone(&access.views.borrow());
    let uptime = time(view.started);
    Json(json!({
        "cluster": {"status": "disabled", "peers": []},
        "versionInfo": {
            "version": daemon::VERSION,
            "revision": "",
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        },
        "config": {"original": "route:\n  receiver: marketprism\nreceivers:\n- name: marketprism\n"},
        "uptime": uptime,
    }))
}

async fn receivers(State(access): State<Access>) -> Json<Value> {
    let channels = access.channels.borrow();
    Json(channels.keys().map(|name| json!({"name": name})).collect())
}

async fn alerts(
    State(access): State<Access>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Refusal> {
    let wanted = Wanted::parse(query.as_deref())?;
    let view = Arc::clone(&access.views.borrow());
    let alerts: Vec<Value> = view
        .told
        .iter()
        .filter(|told| wanted.accepts(told, &told.receivers))
        .map(gettable)
        .collect();
    Ok(Json(Value::Array(alerts)))
}

async fn groups(
    State(access): State<Access>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Refusal> {
    let wanted = Wanted::parse(query.as_deref())?;
    let view = Arc::clone(&access.views.borrow());
    let group = |group: &alert::GroupState| {
        let of =
            |active: &Active| view.told.iter().find(|told| told.active.labels == active.labels);
        let receivers = [group.receiver.clone()];
        let alerts: Vec<Value> = group
            .alerts
            .iter()
            .filter_map(of)
            .filter(|told| wanted.accepts(told, &receivers))
            .map(gettable)
            .collect();
        let body =
            json!({"labels": group.labels, "receiver": {"name": group.receiver}, "alerts": alerts});
        (!alerts.is_empty()).then_some(body)
    };
    Ok(Json(Value::Array(view.groups.iter().filter_map(group).collect())))
}

async fn post_alerts(
    State(access): State<Access>,
    Body(posted): Body<Vec<PostableAlert>>,
) -> Result<StatusCode, Refusal> {
    let now = UnixNanos::new(clock::now());
    let alerts: Result<Vec<Active>, _> =
        posted.into_iter().map(|alert| alert.into_active(now)).collect();
    let alerts = alerts.map_err(|error| Refusal::bad(&error))?;
    let (answer, answered) = oneshot::channel();
    ask(&access, Request::Post { alerts, answer }).await?;
    let taken = answered.await.map_err(|_| Refusal::stopping())?;
    taken.map_err(|error| Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(StatusCode::OK)
}

async fn silences(
    State(access): State<Access>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Refusal> {
    let wanted = Wanted::parse(query.as_deref())?;
    let view = Arc::clone(&access.views.borrow());
    let now = UnixNanos::new(clock::now());
    let mut found: Vec<&Silence> = view
        .silences
        .iter()
        .filter(|silence| all_match(&wanted.matchers, &as_labels(silence)))
        .collect();
    // As Alertmanager does: what silences first, and then by what changes next.
    found.sort_by_key(|silence| match silence.state(now) {
        SilenceState::Active => (0, silence.ends_at.as_i64()),
        SilenceState::Pending => (1, silence.starts_at.as_i64()),
        SilenceState::Expired => (2, silence.ends_at.as_i64().saturating_neg()),
    });
    Ok(Json(Value::Array(found.into_iter().map(|silence| shown(silence, now)).collect())))
}

/// What a filter of silences is compared with: each matcher's name and value.
fn as_labels(silence: &Silence) -> Labels {
    let pair = |matcher: &Matcher| (matcher.name().to_owned(), matcher.value().to_owned());
    silence.matchers.iter().map(pair).collect()
}

async fn silence(
    State(access): State<Access>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let view: Arc<View> = Arc::clone(&access.views.borrow());
    let found = view.silences.iter().find(|silence| silence.id == id);
    let found = found.ok_or(RequestError::Silence(alert::SilenceError::Unknown))?;
    Ok(Json(shown(found, UnixNanos::new(clock::now()))))
}

async fn post_silence(
    State(access): State<Access>,
    Body(posted): Body<PostableSilence>,
) -> Result<Json<Value>, Refusal> {
    let silence = posted.into_silence().map_err(|error| Refusal::bad(&error))?;
    let (answer, answered) = oneshot::channel();
    ask(&access, Request::Silence { silence, answer }).await?;
    let id = answered.await.map_err(|_| Refusal::stopping())??;
    Ok(Json(json!({"silenceID": id})))
}

async fn expire(
    State(access): State<Access>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    let (answer, answered) = oneshot::channel();
    ask(&access, Request::Expire { id, answer }).await?;
    answered.await.map_err(|_| Refusal::stopping())??;
    Ok(StatusCode::OK)
}

async fn ask(access: &Access, request: Request) -> Result<(), Refusal> {
    access.requests.send(request).await.map_err(|_| Refusal::stopping())
}

#[cfg(test)]
mod tests;
