//! Alertmanager's interface, version 2, for `amtool`, Grafana and Prometheus.
//!
//! Alerts of our rules and those that others post are shown alike. Refusals are JSON texts, as
//! Alertmanager's are.
//!
//! Source: <https://github.com/prometheus/alertmanager/blob/v0.28.0/api/v2/openapi.yaml>.

mod document;
mod shown;

use std::sync::Arc;

use alert::{Active, Labels, Matcher, MatcherError, Silence, SilenceState, all_match};
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use daemon::clock;
use serde_json::{Value, json};
use telemetry::Chain;
use tokio::sync::oneshot;
use units::UnixNanos;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{Body, Path, Problem};

use self::document::{PostableAlert, PostableSilence, gettable, shown, time};
use self::shown::{AlertGroup, GettableAlert, GettableSilence, Receiver, Silenced, Status};
use super::Access;
use crate::request::{Request, RequestError};
use crate::view::View;

/// The routes, and their description.
pub(super) fn routes() -> OpenApiRouter<Access> {
    OpenApiRouter::default()
        .routes(routes!(status))
        .routes(routes!(receivers))
        .routes(routes!(alerts, post_alerts))
        .routes(routes!(groups))
        .routes(routes!(silences, post_silence))
        .routes(routes!(silence, expire))
}

/// How what is wanted is described; [`Wanted`] is how it is read. What else is there is ignored, as
/// Alertmanager does.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read name by name")]
struct AlertFilter {
    /// Only alerts with a label that matches, such as `service="storage"`; may be there several
    /// times.
    filter: Option<Vec<String>>,
    /// Only alerts that go to a receiver whose name matches this regular expression.
    receiver: Option<String>,
    /// Whether alerts that people are told of are wanted; `true` if nothing is said.
    active: Option<bool>,
    /// Whether silenced ones are; `true` if nothing is said.
    silenced: Option<bool>,
    /// Whether inhibited ones are; `true` if nothing is said.
    inhibited: Option<bool>,
}

/// Of silences.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read name by name")]
struct SilenceFilter {
    /// Only silences with a matcher that this one matches, such as `service="storage"`; may be
    /// there several times.
    filter: Option<Vec<String>>,
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

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem.status, problem.detail)
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

/// The version and the uptime, as Alertmanager shows them.
#[utoipa::path(
    get,
    path = "/api/v2/status",
    operation_id = "alertmanager_status",
    responses(
        (status = 200, description = "How it does.", body = Status),
    ),
)]
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

/// The channels by which people are told.
#[utoipa::path(
    get,
    path = "/api/v2/receivers",
    operation_id = "alertmanager_receivers",
    responses(
        (status = 200, description = "Their names.", body = Vec<Receiver>),
    ),
)]
async fn receivers(State(access): State<Access>) -> Json<Value> {
    let channels = access.channels.borrow();
    Json(channels.keys().map(|name| json!({"name": name})).collect())
}

/// Alerts that fire: those of our rules and those that others post.
#[utoipa::path(
    get,
    path = "/api/v2/alerts",
    operation_id = "alertmanager_alerts",
    params(AlertFilter),
    responses(
        (status = 200, description = "The alerts.", body = Vec<GettableAlert>),
        (status = 400, description = "The request makes no sense; the text says why.", body = String,
         content_type = "application/json"),
    ),
)]
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

/// The same alerts, in the groups in which people are told.
#[utoipa::path(
    get,
    path = "/api/v2/alerts/groups",
    operation_id = "alertmanager_groups",
    params(AlertFilter),
    responses(
        (status = 200, description = "The groups.", body = Vec<AlertGroup>),
        (status = 400, description = "The request makes no sense; the text says why.", body = String,
         content_type = "application/json"),
    ),
)]
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

/// Posts alerts of another program.
#[utoipa::path(
    post,
    path = "/api/v2/alerts",
    operation_id = "alertmanager_post_alerts",
    request_body = Vec<PostableAlert>,
    responses(
        (status = 200, description = "They are taken."),
        (status = 400, description = "The request makes no sense; the text says why.", body = String,
         content_type = "application/json"),
        (status = 413, description = "The body is too large.", body = String,
         content_type = "application/json"),
        (status = 415, description = "The body is not said to be JSON.", body = String,
         content_type = "application/json"),
        (status = 503, description = "The service is stopping, or has as many as it can keep.", body = String,
         content_type = "application/json"),
    ),
)]
async fn post_alerts(
    State(access): State<Access>,
    posted: Result<Body<Vec<PostableAlert>>, Problem>,
) -> Result<StatusCode, Refusal> {
    let Body(posted) = posted?;
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

/// Silences, those that are over too.
#[utoipa::path(
    get,
    path = "/api/v2/silences",
    operation_id = "alertmanager_silences",
    params(SilenceFilter),
    responses(
        (status = 200, description = "The silences.", body = Vec<GettableSilence>),
        (status = 400, description = "The request makes no sense; the text says why.", body = String,
         content_type = "application/json"),
    ),
)]
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

/// One silence.
#[utoipa::path(
    get,
    path = "/api/v2/silence/{id}",
    operation_id = "alertmanager_silence",
    params(("id" = String, Path, description = "The silence's id.")),
    responses(
        (status = 200, description = "The silence.", body = GettableSilence),
        (status = 400, description = "The request makes no sense; the text says why.", body = String,
         content_type = "application/json"),
        (status = 404, description = "There is no such silence.", body = String,
         content_type = "application/json"),
    ),
)]
async fn silence(
    State(access): State<Access>,
    id: Result<Path<String>, Problem>,
) -> Result<Json<Value>, Refusal> {
    let Path(id) = id?;
    let view: Arc<View> = Arc::clone(&access.views.borrow());
    let found = view.silences.iter().find(|silence| silence.id == id);
    let found = found.ok_or(RequestError::Silence(alert::SilenceError::Unknown))?;
    Ok(Json(shown(found, UnixNanos::new(clock::now()))))
}

/// Makes a silence, or changes the one of its id.
#[utoipa::path(
    post,
    path = "/api/v2/silences",
    operation_id = "alertmanager_post_silence",
    request_body = PostableSilence,
    responses(
        (status = 200, description = "It is kept.", body = Silenced),
        (status = 400, description = "The request makes no sense, or there are too many silences.", body = String,
         content_type = "application/json"),
        (status = 404, description = "There is no such silence.", body = String,
         content_type = "application/json"),
        (status = 413, description = "The body is too large.", body = String,
         content_type = "application/json"),
        (status = 415, description = "The body is not said to be JSON.", body = String,
         content_type = "application/json"),
        (status = 500, description = "It cannot be kept.", body = String,
         content_type = "application/json"),
        (status = 503, description = "The service is stopping.", body = String,
         content_type = "application/json"),
    ),
)]
async fn post_silence(
    State(access): State<Access>,
    posted: Result<Body<PostableSilence>, Problem>,
) -> Result<Json<Value>, Refusal> {
    let Body(posted) = posted?;
    let silence = posted.into_silence().map_err(|error| Refusal::bad(&error))?;
    let (answer, answered) = oneshot::channel();
    ask(&access, Request::Silence { silence, answer }).await?;
    let id = answered.await.map_err(|_| Refusal::stopping())??;
    Ok(Json(json!({"silenceID": id})))
}

/// Ends a silence.
#[utoipa::path(
    delete,
    path = "/api/v2/silence/{id}",
    operation_id = "alertmanager_expire_silence",
    params(("id" = String, Path, description = "The silence's id.")),
    responses(
        (status = 200, description = "It is over."),
        (status = 400, description = "The request makes no sense; the text says why.", body = String,
         content_type = "application/json"),
        (status = 404, description = "There is no such silence.", body = String,
         content_type = "application/json"),
        (status = 500, description = "It cannot be kept.", body = String,
         content_type = "application/json"),
        (status = 503, description = "The service is stopping.", body = String,
         content_type = "application/json"),
    ),
)]
async fn expire(
    State(access): State<Access>,
    id: Result<Path<String>, Problem>,
) -> Result<StatusCode, Refusal> {
    let Path(id) = id?;
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
