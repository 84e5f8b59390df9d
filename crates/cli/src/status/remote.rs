//! How a suite elsewhere is, as its monitoring tells through a gateway.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use settings::Endpoint;

use super::{Flow, Line, Report, flow};
use crate::service::Service;

/// How long the monitoring may take: it answers from memory, over a network.
const TIMEOUT: Duration = Duration::from_secs(10);

/// `/api/v1/services`, as far as it is read here.
#[derive(Debug, Deserialize)]
struct Told {
    data: Vec<Watched>,
}

/// A service that is watched.
#[derive(Debug, Deserialize)]
struct Watched {
    name: String,
    url: String,
    /// Absent if it did not answer.
    #[serde(default)]
    ready: Option<bool>,
    /// Why it did not.
    #[serde(default)]
    error: Option<String>,
    /// Absent if the monitoring has no systemd, or the service is on another host.
    #[serde(default)]
    unit: Option<Unit>,
}

/// A unit, as systemd there says it.
#[derive(Debug, Deserialize)]
struct Unit {
    name: String,
    active_state: String,
    sub_state: String,
    #[serde(default)]
    status_text: Option<String>,
    #[serde(default)]
    main_pid: Option<u32>,
    /// Nanoseconds since the epoch.
    #[serde(default)]
    started_at: Option<i64>,
    #[serde(default)]
    memory_bytes: Option<u64>,
}

/// Asks a gateway how the suite behind it is.
///
/// # Errors
///
/// If the monitoring cannot be asked; what flows is left out if it cannot be had.
pub(super) async fn look(gateway: &Service) -> anyhow::Result<Report> {
    let (told, flow) = tokio::join!(
        gateway.ask::<Told>(Method::GET, "/api/v1/services", None, TIMEOUT),
        flow::of(Some(gateway), Some(gateway)),
    );
    Ok(report(told?, flow, Timestamp::now()))
}

fn report(told: Told, flow: Flow, now: Timestamp) -> Report {
    let running = told.data.iter().filter(|watched| watched.ready.is_some()).count();
    let ok = !told.data.is_empty() && told.data.iter().all(|watched| watched.ready == Some(true));
    let units: Vec<Line> = told.data.into_iter().map(|watched| line(watched, now)).collect();
    Report { running, of: units.len(), ok, no_systemd: None, flow, units }
}

fn line(watched: Watched, now: Timestamp) -> Line {
    let Watched { name, url, ready, error, unit } = watched;
    let port = url.parse::<Endpoint>().ok().and_then(|url| url.url().port_or_known_default());
    let started_at = unit.as_ref().and_then(|unit| unit.started_at);
    let since = started_at.and_then(|at| Timestamp::from_nanosecond(i128::from(at)).ok());
    let uptime = since.map(|since| now.duration_since(since).as_secs());
    let line = Line {
        unit: format!("marketprism-{name}.service"),
        port,
        since,
        uptime_seconds: uptime.and_then(|seconds| u64::try_from(seconds).ok()),
        ready,
        not_ready_because: error,
        ..Line::default()
    };
    let Some(unit) = unit else { return line };
    Line {
        unit: unit.name,
        active: Some(unit.active_state),
        sub: Some(unit.sub_state),
        pid: unit.main_pid,
        memory_bytes: unit.memory_bytes,
        status_text: unit.status_text,
        ..line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Access;
    use crate::status::render;
    use crate::testing::{PATIENCE, Running};
    use expect_test::expect;
    use settings::Suite;

    #[test]
    fn what_the_monitoring_knows_is_shown_and_the_rest_left_open() {
        let told = serde_json::json!({"data": [
            {"name": "storage", "url": "http://10.0.0.2:8082", "state": "up", "ready": true,
             "unit": {"name": "marketprism-storage.service", "load_state": "loaded",
                      "active_state": "active", "sub_state": "running", "main_pid": 12,
                      "started_at": 1_000_000_000, "memory_bytes": 7_234_567,
                      "status_text": "3 streams, nothing behind"}},
            {"name": "broker", "url": "http://10.0.0.3:8085", "state": "down",
             "error": "connection refused"},
        ], "units": []});
        let now = Timestamp::from_second(66).unwrap();
        let report = report(serde_json::from_value(told).unwrap(), Flow::default(), now);
        assert!(!report.ok);
        expect![[r#"
            1 of 2 running
            UNIT                 STATE             PID  PORT   MEMORY  UPTIME  READY  RATE  DOING
            marketprism-storage  active (running)   12  8082  6.8 MiB   1m 5s  yes       -  3 streams, nothing behind
            marketprism-broker   -                   -  8085        -       -  down      -  connection refused"#]]
        .assert_eq(&render(&report));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_gateway_tells_how_the_services_behind_it_are() {
        let mut suite = Suite::default();
        // Nobody is there, and the gateway does without a bus.
        suite.bus.url = "nats://127.0.0.1:1".parse().unwrap();
        suite.monitoring.interval = Duration::from_millis(20);
        suite.monitoring.services.retain(|name, _| name == "storage");
        let nowhere = "http://127.0.0.1:1".parse().unwrap();
        suite.monitoring.services.insert("storage".into(), nowhere);
        let monitoring = Running::guarded::<monitoring::Monitoring>(&suite).await;
        let endpoint = format!("http://{}", monitoring.address);
        suite.gateway.backends.monitoring = endpoint.parse().unwrap();
        let gateway = Running::guarded::<gateway::Gateway>(&suite).await;
        let (key, listen) = (gateway.key(), gateway.address);
        let service =
            Service::new("monitoring", None, &Access::of(key.path()), listen, 1 << 20).unwrap();
        let is_known = |line: &Line| line.not_ready_because.is_some();
        let down = async {
            loop {
                match look(&service).await {
                    Ok(report) if report.units.iter().any(is_known) => break report,
                    // The key is not in force yet, or storage was not asked. Asking seldom: whoever
                    // guesses is slowed down.
                    Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(600)).await,
                }
            }
        };
        let report = tokio::time::timeout(PATIENCE, down).await.expect("told in time");
        assert_eq!((report.running, report.of, report.ok), (0, 1, false));
        assert_eq!(report.units[0].unit, "marketprism-storage.service");
        assert_eq!(report.units[0].port, Some(1));
        gateway.stop().await;
        monitoring.stop().await;
    }
}
