//! The HTTP interface: `/api/v1/overview`, `services`, `alerts`; and Alertmanager's, below `/api/v2`.
//!
//! Times are nanoseconds since the epoch, ages milliseconds at the moment of the answer. A field that
//! is not known is absent.

use std::sync::Arc;

use alert::{Alert, Data, RuleStatus, State as AlertState};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use daemon::clock;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::{oneshot, watch};
use web::{Problem, Query};

use crate::alerting::identity;
use crate::request::{Request, Requests};
use crate::teller::{ChannelState, ChannelStates, TestError};
use crate::view::{Service, State as ServiceState, View};

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

/// The routes over what was found last.
pub fn router(access: Access) -> Router {
    let views = access.views.clone();
    let own = Router::new()
        .route("/api/v1/overview", get(overview))
        .route("/api/v1/services", get(services))
        .route("/api/v1/services/{name}", get(service))
        .route("/api/v1/alerts", get(alerts))
        .route("/api/v1/alerts/rules", get(rules))
        .with_state(views);
    let telling = Router::new()
        .route("/api/v1/alerts/channels", get(channels))
        .route("/api/v1/alerts/channels/{name}/test", post(test))
        .with_state(access.clone());
    own.merge(telling).merge(v2::router(access))
}

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
    }
    Json(body)
}

async fn services(State(views): State<Views>) -> Json<Value> {
    let view = Arc::clone(&views.borrow());
    let now = clock::now();
    let data: Vec<Value> = view.services.iter().map(|service| describe(service, now)).collect();
    Json(json!({"data": data, "units": view.units}))
}

async fn service(
    State(views): State<Views>,
    web::Path(name): web::Path<String>,
) -> web::Result<Json<Value>> {
    let view = Arc::clone(&views.borrow());
    view.services
        .iter()
        .find(|service| service.name == name)
        .map(|service| Json(describe(service, clock::now())))
        .ok_or_else(|| Problem::not_found(format!("no service `{name}` is configured")))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertsQuery {
    state: Option<Wanted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
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

async fn rules(State(views): State<Views>) -> Json<Value> {
    let view = Arc::clone(&views.borrow());
    let data: Vec<Value> = view.rules.iter().map(describe_rule).collect();
    Json(json!({"data": data}))
}

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

/// Answers with what the receiver said; 502 with the reason if it did not take the message.
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

fn describe(service: &Service, now: i64) -> Value {
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
