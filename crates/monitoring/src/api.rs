//! The HTTP interface: `/api/v1/overview`, `services`, `alerts`; and Alertmanager's, below `/api/v2`.
//!
//! Times are nanoseconds since the epoch, ages milliseconds at the moment of the answer. A field that
//! is not known is absent.

use std::path::PathBuf;
use std::sync::Arc;

use alert::{Alert, Data, RuleStatus, State as AlertState};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router};
use daemon::clock;
use openapi::Document;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::{oneshot, watch};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::{Problem, Query};

use self::document::{
    AlertList, ChannelList, Overview, RuleList, ServiceAnswer, ServiceList, TestAnswer,
};
use crate::alerting::identity;
use crate::host::{Disk, Host};
use crate::request::{Request, Requests};
use crate::teller::{ChannelState, ChannelStates, TestError};
use crate::view::{Service, State as ServiceState, View};

mod document;
mod v2;

type Views = watch::Receiver<Arc<View>>;

/// What the handlers work with.
#[derive(Clone, Debug)]
pub struct Access {
    /// What was found last.
    pub views: Views,
    /// How the channels do.
    pub channels: watch::Receiver<ChannelStates>,
    /// The way to the task that owns the alerts.
    pub requests: Requests,
}

/// The routes over what was found last, and their description.
fn shown() -> OpenApiRouter<Views> {
    OpenApiRouter::default()
        .routes(routes!(overview))
        .routes(routes!(services))
        .routes(routes!(service))
        .routes(routes!(alerts))
        .routes(routes!(rules))
}

/// The routes over the task that owns the alerts, and their description.
fn asked() -> OpenApiRouter<Access> {
    OpenApiRouter::default().routes(routes!(channels)).routes(routes!(test)).merge(v2::routes())
}

/// The routes.
pub fn router(access: Access) -> Router {
    let shown = shown().split_for_parts().0.with_state(access.views.clone());
    shown.merge(asked().split_for_parts().0.with_state(access))
}

/// Describes the routes.
#[must_use]
pub fn describe() -> Document {
    let about = "Services, units and alerts; below `/api/v2` as Alertmanager has them.";
    let mut parts = shown().split_for_parts().1;
    parts.merge(asked().split_for_parts().1);
    Document::new("monitoring", about, parts)
}

/// The suite at a glance.
#[utoipa::path(
    get,
    path = "/api/v1/overview",
    operation_id = "overview",
    responses(
        (status = 200, description = "What the last cycle found.", body = Overview),
    ),
)]
async fn overview(State(views): State<Views>) -> Json<Value> {
    let view = Arc::clone(&views.borrow());
    let now = clock::now();
    let count = |state| view.count(state);
    let mut body = json!({
        "time": now,
        "services": {
            "total": view.services.len(),
            "up": count(ServiceState::Up),
            "degraded": count(ServiceState::Degraded),
            "down": count(ServiceState::Down),
            "unknown": count(ServiceState::Unknown),
        },
        "states": view
            .services
            .iter()
            .map(|service| (service.name.clone(), json!(service.state)))
            .collect::<Map<_, _>>(),
        "alerts": {"firing": view.firing(), "pending": view.pending()},
        "feeds": view.feeds,
    });
    if let Some(cycle) = view.cycle {
        body["cycle"] = json!({
            "at": cycle.at,
            "age_ms": age_ms(now, cycle.at),
            "took_ms": u64::try_from(cycle.took.as_millis()).unwrap_or(u64::MAX),
        });
        body["dbus"] = match &view.bus_error {
            Some(error) => json!({"up": false, "error": error}),
            None => json!({"up": true, "units": view.units.len()}),
        };
        body["host"] = describe_host(&view.host);
    }
    Json(body)
}

/// The configured services, and the units of the suite on this host.
#[utoipa::path(
    get,
    path = "/api/v1/services",
    operation_id = "services",
    responses(
        (status = 200, description = "How they do.", body = ServiceList),
    ),
)]
async fn services(State(views): State<Views>) -> Json<Value> {
    let view = Arc::clone(&views.borrow());
    let now = clock::now();
    let data: Vec<Value> = view.services.iter().map(|service| answer_of(service, now)).collect();
    Json(json!({"data": data, "units": view.units}))
}

/// One configured service.
#[utoipa::path(
    get,
    path = "/api/v1/services/{name}",
    operation_id = "service",
    params(("name" = String, Path, description = "The service's name, such as `storage`.")),
    responses(
        (status = 200, description = "How it does.", body = ServiceAnswer),
        (status = 400),
        (status = 404, description = "No such service is configured."),
    ),
)]
async fn service(
    State(views): State<Views>,
    web::Path(name): web::Path<String>,
) -> web::Result<Json<Value>> {
    let view = Arc::clone(&views.borrow());
    view.services
        .iter()
        .find(|service| service.name == name)
        .map(|service| Json(answer_of(service, clock::now())))
        .ok_or_else(|| Problem::not_found(format!("no service `{name}` is configured")))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AlertsQuery {
    /// Only alerts in this state.
    #[param(inline)]
    state: Option<Wanted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Pending,
    Firing,
    Resolved,
}

impl Wanted {
    const fn accepts(self, state: AlertState) -> bool {
        match state {
            AlertState::Inactive => false,
            AlertState::Pending { .. } => matches!(self, Self::Pending),
            AlertState::Firing { .. } => matches!(self, Self::Firing),
            AlertState::Resolved { .. } => matches!(self, Self::Resolved),
        }
    }
}

/// Alerts that are pending, firing or resolved.
#[utoipa::path(
    get,
    path = "/api/v1/alerts",
    operation_id = "alerts",
    params(AlertsQuery),
    responses(
        (status = 200, description = "The alerts.", body = AlertList),
        (status = 400),
    ),
)]
async fn alerts(State(views): State<Views>, Query(query): Query<AlertsQuery>) -> Json<Value> {
    let view = Arc::clone(&views.borrow());
    let data: Vec<Value> = view
        .alerts
        .iter()
        .filter(|alert| query.state.is_none_or(|wanted| wanted.accepts(alert.state)))
        .map(|alert| describe_alert(alert, &view))
        .collect();
    Json(json!({"data": data}))
}

/// The rules by which alerts are raised, and how they stand.
#[utoipa::path(
    get,
    path = "/api/v1/alerts/rules",
    operation_id = "alert_rules",
    responses(
        (status = 200, description = "The rules.", body = RuleList),
    ),
)]
async fn rules(State(views): State<Views>) -> Json<Value> {
    let view = Arc::clone(&views.borrow());
    let data: Vec<Value> = view.rules.iter().map(describe_rule).collect();
    Json(json!({"data": data}))
}

/// Where people are told of alerts, and whether that works.
#[utoipa::path(
    get,
    path = "/api/v1/alerts/channels",
    operation_id = "alert_channels",
    responses(
        (status = 200, description = "The channels.", body = ChannelList),
    ),
)]
async fn channels(State(access): State<Access>) -> Json<Value> {
    let states = access.channels.borrow().clone();
    let describe = |(name, state): (String, ChannelState)| {
        let mut body = json!({"name": name});
        if let Some(problem) = state.problem {
            body["problem"] = json!(problem);
        }
        if let Some(at) = state.taken_at {
            body["taken_at"] = json!(at);
        }
        if let Some((at, error)) = state.failed {
            body["failed_at"] = json!(at);
            body["error"] = json!(error);
        }
        body
    };
    Json(json!({"data": states.into_iter().map(describe).collect::<Vec<_>>()}))
}

/// Sends a message by a channel, and answers with what its receiver said.
#[utoipa::path(
    post,
    path = "/api/v1/alerts/channels/{name}/test",
    operation_id = "test_alert_channel",
    params(("name" = String, Path, description = "The channel's name.")),
    responses(
        (status = 200, description = "The receiver took it.", body = TestAnswer),
        (status = 400),
        (status = 404, description = "There is no such channel."),
        (status = 502, description = "The receiver did not take it; the detail says why."),
        (status = 503, description = "The service is stopping."),
    ),
)]
async fn test(
    State(access): State<Access>,
    web::Path(name): web::Path<String>,
) -> web::Result<Json<Value>> {
    let stopping = || Problem::unavailable("the service stops", None);
    let (answer, answered) = oneshot::channel();
    let request = Request::Test { channel: name.clone(), answer };
    access.requests.send(request).await.map_err(|_| stopping())?;
    match answered.await.map_err(|_| stopping())? {
        Ok(answer) => Ok(Json(json!({"channel": name, "answer": answer}))),
        Err(error @ TestError::Unknown) => Err(Problem::not_found(error.to_string())),
        Err(error @ (TestError::Unusable(_) | TestError::Failed(_))) => {
            Err(Problem::new(StatusCode::BAD_GATEWAY, error.to_string()))
        }
    }
}

fn answer_of(service: &Service, now: i64) -> Value {
    let mut body = Map::new();
    body.insert("name".into(), json!(service.name));
    body.insert("url".into(), json!(service.url));
    body.insert("state".into(), json!(service.state));
    let mut known = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    known("checked_at", service.checked_at.map(Value::from));
    known("age_ms", service.checked_at.map(|at| json!(age_ms(now, at))));
    known("ready", service.ready.map(Value::from));
    known("error", service.error.clone().map(Value::from));
    known("health", service.health.clone());
    known("health_error", service.health_error.clone().map(Value::from));
    known("samples", service.samples.map(Value::from));
    known("metrics_error", service.metrics_error.clone().map(Value::from));
    known("restarts", service.restarts.map(Value::from));
    known("unit", service.unit.as_ref().map(|unit| json!(unit)));
    Value::Object(body)
}

fn describe_alert(alert: &Alert, view: &View) -> Value {
    let mut body = json!({
        "name": alert.rule.name,
        "severity": alert.rule.severity.as_str(),
        "labels": alert.labels,
        "summary": alert.summary(),
        "value": alert.quantity,
    });
    match alert.state {
        AlertState::Inactive => body["state"] = json!("inactive"),
        AlertState::Pending { since } => {
            body["state"] = json!("pending");
            body["since"] = json!(since.as_i64());
        }
        AlertState::Firing { since, fired } => {
            body["state"] = json!("firing");
            body["since"] = json!(since.as_i64());
            body["fired_at"] = json!(fired.as_i64());
        }
        AlertState::Resolved { fired, resolved } => {
            body["state"] = json!("resolved");
            body["fired_at"] = json!(fired.as_i64());
            body["resolved_at"] = json!(resolved.as_i64());
        }
    }
    if let Data::AbsentSince(since) = alert.data {
        body["no_data_since"] = json!(since.as_i64());
    }
    let labels = identity(alert);
    if let Some(told) = view.told.iter().find(|told| told.active.labels == labels) {
        for (name, by) in [
            ("silenced_by", &told.suppression.silenced_by),
            ("inhibited_by", &told.suppression.inhibited_by),
        ] {
            if !by.is_empty() {
                body[name] = json!(by);
            }
        }
    }
    body
}

/// Disks and certificates; of each what is known, or why that is not.
fn describe_host(host: &Host) -> Value {
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    let disk = |(path, found): &(PathBuf, Result<Disk, String>)| match found {
        Ok(disk) => {
            json!({"path": text(path), "used_bytes": disk.used, "free_bytes": disk.free})
        }
        Err(error) => json!({"path": text(path), "error": error}),
    };
    let certificate = |(path, found): &(PathBuf, Result<i64, String>)| match found {
        Ok(expiry) => {
            json!({"path": text(path), "expires_at": expiry.saturating_mul(1_000_000_000)})
        }
        Err(error) => json!({"path": text(path), "error": error}),
    };
    json!({
        "disks": host.disks.iter().map(disk).collect::<Vec<_>>(),
        "certificates": host.certificates.iter().map(certificate).collect::<Vec<_>>(),
    })
}

/// A rule is `unknown` as long as it has no current series to judge by; that is not `inactive`.
fn describe_rule(status: &RuleStatus) -> Value {
    let rule = &status.rule;
    let state = if status.firing > 0 {
        "firing"
    } else if status.pending > 0 {
        "pending"
    } else if status.present == 0 || status.absent > 0 {
        "unknown"
    } else {
        "inactive"
    };
    json!({
        "name": rule.name,
        "condition": rule.condition.to_string(),
        "for_seconds": rule.hold.as_secs(),
        "keep_firing_for_seconds": rule.keep.as_secs(),
        "severity": rule.severity.as_str(),
        "summary": rule.summary.as_str(),
        "state": state,
        "series": {"present": status.present, "absent": status.absent},
        "firing": status.firing,
        "pending": status.pending,
    })
}

fn age_ms(now: i64, at: i64) -> i64 {
    now.saturating_sub(at).max(0) / 1_000_000
}

#[cfg(test)]
mod tests;
