//! Alertmanager's own documents: its webhook, and what it takes.

use std::time::Duration;

use alert::{Active, Labels, fingerprint};
use jiff::Timestamp;
use serde_json::{Value, json};
use units::UnixNanos;

use crate::message::Message;

/// Alerts in one message; the number of those beyond is told.
const ALERTS_MAX: usize = 500;

/// Go's zero time, which stands for an alert that has not ended.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// How long an Alertmanager takes an alert for firing that it hears nothing more of: four times the
/// pause between two pushes, as with Prometheus.
pub(crate) const VALID_FOR: Duration = Duration::from_mins(4);

/// The body of Alertmanager's webhook, version 4.
///
/// Source: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>.
pub(crate) fn webhook(message: &Message) -> Value {
    let alerts = &message.alerts;
    json!({
        "version": "4",
        "groupKey": format!("{{}}:{{{}}}", pairs(&message.group_labels)),
        "truncatedAlerts": alerts.len().saturating_sub(ALERTS_MAX),
        "status": message.status(),
        "receiver": message.receiver,
        "groupLabels": message.group_labels,
        "commonLabels": common(alerts, |alert| &alert.labels),
        "commonAnnotations": common(alerts, |alert| &alert.annotations),
        "externalURL": message.external_url.as_deref().unwrap_or_default(),
        "alerts": alerts.iter().take(ALERTS_MAX).map(entry).collect::<Vec<_>>(),
    })
}

/// Alertmanager's document has two states only: an alert that is given up stays firing, without an
/// end, and its summary says what became of it.
fn entry(alert: &Active) -> Value {
    json!({
        "status": if alert.is_resolved() { "resolved" } else { "firing" },
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": time(alert.starts_at),
        "endsAt": end(alert).map_or_else(|| NEVER.to_owned(), time),
        "generatorURL": alert.generator_url,
        "fingerprint": format!("{:016x}", fingerprint(&alert.labels)),
    })
}

/// When an alert was resolved.
fn end(alert: &Active) -> Option<UnixNanos> {
    alert.ends_at.filter(|_| !alert.given_up)
}

/// The body of `POST /api/v2/alerts`.
///
/// Source: <https://github.com/prometheus/alertmanager/blob/v0.28.0/api/v2/openapi.yaml>.
pub(crate) fn postable(alerts: &[Active], now: UnixNanos) -> Value {
    let postable = |alert: &Active| {
        let mut body = json!({
            "labels": alert.labels,
            "annotations": alert.annotations,
            "startsAt": time(alert.starts_at),
            "endsAt": time(end(alert).unwrap_or_else(|| now.plus(VALID_FOR))),
        });
        if !alert.generator_url.is_empty() {
            body["generatorURL"] = json!(alert.generator_url);
        }
        body
    };
    alerts.iter().map(postable).collect()
}

fn pairs(labels: &Labels) -> String {
    let pair = |(name, value): (&String, &String)| format!("{name}={value:?}");
    labels.iter().map(pair).collect::<Vec<_>>().join(", ")
}

/// What all alerts have in common.
fn common<'a>(alerts: &'a [Active], of: impl Fn(&'a Active) -> &'a Labels) -> Labels {
    let Some((first, rest)) = alerts.split_first() else { return Labels::new() };
    let mut common = of(first).clone();
    for alert in rest {
        common.retain(|name, value| of(alert).get(name) == Some(value));
    }
    common
}

fn time(time: UnixNanos) -> String {
    let instant = Timestamp::from_nanosecond(i128::from(time.as_i64()))
        .expect("64 bits of nanoseconds are within the calendar");
    format!("{instant:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::{alert, message};
    use expect_test::expect;

    #[test]
    fn the_webhook_is_alertmanagers() {
        let body = webhook(&message(vec![alert("down", None), alert("full", Some(1_000_000))]));
        expect![[r#"
            {
              "version": "4",
              "groupKey": "{}:{severity=\"critical\"}",
              "truncatedAlerts": 0,
              "status": "firing",
              "receiver": "hook",
              "groupLabels": {
                "severity": "critical"
              },
              "commonLabels": {
                "severity": "critical"
              },
              "commonAnnotations": {},
              "externalURL": "http://mon:8083",
              "alerts": [
                {
                  "status": "firing",
                  "labels": {
                    "alertname": "down",
                    "severity": "critical"
                  },
                  "annotations": {
                    "summary": "down <is> & bad"
                  },
                  "startsAt": "1970-01-01T00:00:00.000Z",
                  "endsAt": "0001-01-01T00:00:00Z",
                  "generatorURL": "",
                  "fingerprint": "cdd7a8adf0ec7af6"
                },
                {
                  "status": "resolved",
                  "labels": {
                    "alertname": "full",
                    "severity": "critical"
                  },
                  "annotations": {
                    "summary": "full <is> & bad"
                  },
                  "startsAt": "1970-01-01T00:00:00.000Z",
                  "endsAt": "1970-01-01T00:00:00.001Z",
                  "generatorURL": "",
                  "fingerprint": "a82ffa4c991c1425"
                }
              ]
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&body).unwrap());
    }

    #[test]
    fn what_is_given_up_is_not_told_to_be_resolved() {
        let lost = Active { given_up: true, ..alert("stale", Some(1_000_000)) };
        let body = webhook(&message(vec![lost.clone()]));
        assert_eq!(body["status"], "firing");
        assert_eq!(body["alerts"][0]["status"], "firing");
        assert_eq!(body["alerts"][0]["endsAt"], NEVER);
        let body = postable(&[lost], UnixNanos::new(0));
        assert_eq!(body[0]["endsAt"], "1970-01-01T00:04:00.000Z");
    }

    #[test]
    fn what_fires_is_pushed_with_an_end_to_come_and_what_is_resolved_with_its_own() {
        let alerts = [alert("down", None), alert("full", Some(1_000_000))];
        let body = postable(&alerts, UnixNanos::new(0));
        assert_eq!(body[0]["endsAt"], "1970-01-01T00:04:00.000Z");
        assert_eq!(body[1]["endsAt"], "1970-01-01T00:00:00.001Z");
        assert!(body[0].get("generatorURL").is_none());
    }
}
