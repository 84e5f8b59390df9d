//! Ring 1: rounds in, states and alerts out.

use std::time::Duration;

use alert::{Change, State as AlertState};
use serde_json::json;
use settings::Endpoint;

use super::{Monitor, Round};
use crate::host::{Disk, Host};
use crate::peer::Answer;
use crate::rules::rules;
use crate::unit::Unit;
use crate::view::{Cycle, State, View};

const SECOND: i64 = 1_000_000_000;

fn monitor() -> Monitor {
    let configured = settings::Monitoring::default();
    let plan = crate::plan::plan(&configured).unwrap();
    Monitor::new(rules(&configured.rules).unwrap(), configured.forget_after, plan)
}

fn ready(metrics: &str) -> Result<Answer, String> {
    Ok(Answer {
        ready: true,
        health: Ok(json!({"status": "ok"})),
        metrics: Ok(metrics.into()),
        clock_offset: None,
    })
}

fn unit(service: &str, restarts: u32, invocation: &str) -> Unit {
    Unit {
        name: format!("marketprism-{service}.service"),
        active_state: "active".into(),
        automatic_restarts: Some(restarts),
        invocation_id: Some(invocation.into()),
        ..Unit::default()
    }
}

struct Script {
    monitor: Monitor,
    second: i64,
}

impl Script {
    fn new() -> Self {
        Self { monitor: monitor(), second: 0 }
    }

    /// A round `after` seconds after the last one; returns the view and the alerts that changed.
    fn round(
        &mut self,
        after: i64,
        probes: Vec<(&str, Result<Answer, String>)>,
        units: Result<Vec<Unit>, String>,
    ) -> (View, Vec<(String, Change)>) {
        self.second += after;
        let cycle = Cycle { at: self.second * SECOND, took: Duration::from_millis(5) };
        let url: Endpoint = "http://127.0.0.1:1".parse().unwrap();
        let probes =
            probes.into_iter().map(|(name, answer)| (name.into(), url.clone(), answer)).collect();
        let (view, outcome) = self.monitor.handle_round(Round {
            started: units::UnixNanos::new(0),
            cycle,
            probes,
            units,
            host: Host::default(),
            completeness: Vec::new(),
        });
        let changes = outcome
            .transitions
            .into_iter()
            .map(|transition| (transition.alert.rule.name.clone(), transition.change))
            .collect();
        (view, changes)
    }
}

fn no_bus() -> Result<Vec<Unit>, String> {
    Err("no such file".into())
}

#[test]
fn a_service_that_does_not_answer_is_down_and_fires_after_its_hold() {
    let mut script = Script::new();
    let refused = || vec![("storage", Err("connection refused".into()))];
    let (view, changes) = script.round(0, refused(), no_bus());
    assert_eq!(view.services[0].state, State::Down);
    assert_eq!(view.status_line(), "0/1 services up, 0 alerts, unit states unknown (no D-Bus)");
    assert_eq!(changes, [("service-down".into(), Change::Pending)]);
    let (_, changes) = script.round(14, refused(), no_bus());
    assert_eq!(changes, []);
    let (view, changes) = script.round(1, refused(), no_bus());
    assert_eq!(changes, [("service-down".into(), Change::Fired)]);
    assert_eq!(view.status_line(), "0/1 services up, 1 alert, unit states unknown (no D-Bus)");
    let (view, changes) = script.round(5, vec![("storage", ready(""))], Ok(vec![]));
    assert_eq!(changes, [("service-down".into(), Change::Resolved)]);
    assert_eq!(view.status_line(), "1/1 services up, 0 alerts");
}

#[test]
fn a_service_that_is_not_ready_is_degraded_not_down() {
    let answer = Answer { ready: false, ..ready("").unwrap() };
    let (view, changes) = Script::new().round(0, vec![("storage", Ok(answer))], Ok(vec![]));
    assert_eq!(view.services[0].state, State::Degraded);
    assert_eq!(view.status_line(), "0/1 services up, 1 degraded, 0 alerts");
    assert_eq!(changes, [("service-not-ready".into(), Change::Pending)]);
}

#[test]
fn a_service_that_is_ready_but_not_whole_is_degraded() {
    for health in [Ok(json!({"status": "degraded"})), Err("the answer broke off".to_owned())] {
        let answer = Answer { health, ..ready("").unwrap() };
        let (view, _) = Script::new().round(0, vec![("storage", Ok(answer))], Ok(vec![]));
        assert_eq!(view.services[0].state, State::Degraded);
    }
}

#[test]
fn a_silent_connection_fires_for_its_labels_and_keeps_firing_while_the_collector_is_silent() {
    let stale = concat!(
        "marketprism_collector_last_event_age_seconds{connection=\"binance-spot-0\"} 61\n",
        "marketprism_collector_last_event_age_seconds{connection=\"binance-spot-1\"} 0.2\n",
    );
    let mut script = Script::new();
    let (view, _) = script.round(0, vec![("collector", ready(stale))], Ok(vec![]));
    assert_eq!(view.feeds.len(), 2);
    let (view, changes) = script.round(30, vec![("collector", ready(stale))], Ok(vec![]));
    assert_eq!(changes, [("connection-silent".into(), Change::Fired)]);
    assert_eq!(view.alerts[0].summary(), "nothing came over binance-spot-0 for 61 s");
    assert_eq!(view.alerts[0].labels["service"], "collector");
    let (view, changes) = script.round(60, vec![("collector", Err("timeout".into()))], Ok(vec![]));
    assert_eq!(changes, [("service-down".into(), Change::Pending)]);
    assert!(matches!(view.alerts[0].state, AlertState::Firing { .. }));
    assert_eq!(view.feeds, []);
}

#[test]
fn a_kind_that_is_silent_on_a_busy_connection_is_a_stale_feed() {
    let busy = "marketprism_collector_last_event_age_seconds{connection=\"okx-linear-0\"} 0.1\n";
    let silence = |ratio: &str| {
        let labels = "{venue=\"okx\",market=\"linear\",kind=\"mark\"}";
        format!("{busy}marketprism_collector_kind_silence_ratio{labels} {ratio}\n")
    };
    let mut script = Script::new();
    let mut round = |after, ratio: &str| {
        let probes = vec![("collector", ready(&silence(ratio)))];
        script.round(after, probes, Ok(vec![]))
    };
    assert_eq!(round(0, "1").1, []);
    assert_eq!(round(5, "1.25").1, [("feed-stale".into(), Change::Pending)]);
    let (view, changes) = round(30, "1.5");
    assert_eq!(changes, [("feed-stale".into(), Change::Fired)]);
    assert_eq!(
        view.alerts[0].summary(),
        "no mark of okx (linear) came for 1.5 times as long as it may take"
    );
    assert_eq!(round(5, "0.1").1, [("feed-stale".into(), Change::Resolved)]);
}

#[test]
fn an_alert_without_data_is_told_as_given_up_and_not_as_resolved() {
    let mut script = Script::new();
    let behind =
        "marketprism_broker_consumer_lag{consumer=\"storage\",stream=\"MP_TRADE\"} 20000\n";
    let silent = || vec![("broker", ready(""))];
    script.round(0, vec![("broker", ready(behind))], Ok(vec![]));
    let (_, changes) = script.round(120, vec![("broker", ready(behind))], Ok(vec![]));
    assert_eq!(changes, [("consumer-lag".into(), Change::Fired)]);
    script.round(5, silent(), Ok(vec![]));
    let (view, changes) = script.round(3_600, silent(), Ok(vec![]));
    assert_eq!(changes, [("consumer-lag".into(), Change::Lost)]);
    let told = &view.told[0].active;
    assert!(told.given_up && !told.is_resolved(), "{told:?}");
    let summary = "no data any more: storage is 20000 blocks behind MP_TRADE";
    assert_eq!(told.annotations["summary"], summary);

    let mut after = Script { monitor: monitor(), second: script.second };
    let now = units::UnixNanos::new(script.second * SECOND);
    after.monitor.restore(script.monitor.save(), now);
    let (view, _) = after.round(5, silent(), Ok(vec![]));
    assert!(view.told[0].active.given_up, "{:?}", view.told);
    let (view, _) = after.round(900, silent(), Ok(vec![]));
    assert_eq!(view.told, []);
}

#[test]
fn three_automatic_starts_within_ten_minutes_are_a_restart_loop() {
    let mut script = Script::new();
    let mut starts = |restarts, invocation: &str| {
        script.round(60, vec![], Ok(vec![unit("collector@a", restarts, invocation)]))
    };
    assert_eq!(starts(0, "a").1, []);
    assert_eq!(starts(1, "b").1, []);
    assert_eq!(starts(2, "c").1, []);
    let (view, changes) = starts(3, "d");
    let (pending, fired) = (Change::Pending, Change::Fired);
    assert_eq!(changes, [("restart-loop".into(), pending), ("restart-loop".into(), fired)]);
    assert_eq!(
        view.alerts[0].summary(),
        "systemd had to start collector@a again 3 times within ten minutes"
    );
    assert_eq!(starts(3, "d").1, []);
}

#[test]
fn a_service_that_is_restarted_by_hand_is_in_no_restart_loop() {
    let mut script = Script::new();
    for invocation in ["a", "b", "c", "d", "e"] {
        let (_, changes) = script.round(60, vec![], Ok(vec![unit("storage", 0, invocation)]));
        assert_eq!(changes, []);
    }
}

#[test]
fn a_restart_is_told_with_the_service_and_its_unit() {
    let mut script = Script::new();
    script.round(0, vec![("storage", ready(""))], Ok(vec![unit("storage", 0, "a")]));
    let units = vec![unit("nats", 0, "n"), unit("storage", 2, "c")];
    let (view, _) = script.round(5, vec![("storage", ready(""))], Ok(units));
    assert_eq!(view.services[0].restarts, Some(2));
    assert_eq!(view.services[0].unit.as_ref().unwrap().invocation_id.as_deref(), Some("c"));
    assert_eq!(view.units.len(), 2);
}

#[test]
fn metrics_that_cannot_be_read_are_said_so_and_the_service_stays_up() {
    let (view, _) = Script::new().round(0, vec![("storage", ready("a{ 1\n"))], Ok(vec![]));
    assert_eq!(view.services[0].state, State::Up);
    assert_eq!(
        view.services[0].metrics_error.as_deref(),
        Some("line 1: the labels are not name=\"value\" pairs")
    );
}

#[test]
fn our_own_metrics_scraped_back_do_not_raise_an_alert_twice() {
    let scraped = "marketprism_monitoring_service_up{service=\"storage\"} 0\n";
    let probes = vec![("monitoring", ready(scraped)), ("storage", Err("refused".into()))];
    let (view, _) = Script::new().round(0, probes, Ok(vec![]));
    assert_eq!(view.alerts.len(), 1);
}

#[test]
fn a_label_named_service_is_kept_under_another_name() {
    let age = "marketprism_collector_last_event_age_seconds{service=\"x\",kind=\"trade\"} 1\n";
    let (view, _) = Script::new().round(0, vec![("collector", ready(age))], Ok(vec![]));
    assert_eq!(view.feeds[0].labels["service"], "collector");
    assert_eq!(view.feeds[0].labels["exported_service"], "x");
}

/// What the broker exposes, in its own words: see its test of a stream that fills up.
fn stream(filling: u8, full: u8) -> String {
    format!(
        "marketprism_broker_stream_filling{{stream=\"MP_TRADE\"}} {filling}\n\
         marketprism_broker_stream_full{{stream=\"MP_TRADE\"}} {full}\n"
    )
}

#[test]
fn a_stream_warns_at_70_percent_is_critical_at_100_and_both_end_by_themselves() {
    let mut script = Script::new();
    let mut round = |after, filling, full| {
        let text = stream(filling, full);
        let probes = vec![("broker", ready(&text))];
        let (view, changes) = script.round(after, probes, Ok(vec![]));
        let mut alerts = view.alerts.iter();
        let alerts = alerts.by_ref().map(|alert| (alert.rule.severity, alert.summary()));
        (alerts.collect::<Vec<_>>(), changes)
    };
    assert_eq!(round(0, 0, 0), (vec![], vec![]));
    let (_, changes) = round(5, 1, 0);
    assert_eq!(changes, [("stream-filling".into(), Change::Pending)]);
    let (alerts, changes) = round(30, 1, 0);
    assert_eq!(changes, [("stream-filling".into(), Change::Fired)]);
    assert_eq!(alerts[0].0, alert::Severity::Warning);
    assert_eq!(
        alerts[0].1,
        "MP_TRADE is at least 70 % full, since storage is behind: see marketprism-storage, or \
         raise broker.streams"
    );
    round(5, 1, 1);
    let (alerts, changes) = round(15, 1, 1);
    assert_eq!(changes, [("stream-full".into(), Change::Fired)]);
    let critical: Vec<_> =
        alerts.iter().filter(|(severity, _)| *severity == alert::Severity::Critical).collect();
    assert_eq!(critical.len(), 1, "{alerts:?}");
    assert!(critical[0].1.starts_with("MP_TRADE is full and refuses data"), "{critical:?}");
    let (_, changes) = round(5, 0, 0);
    let resolved = ["stream-filling", "stream-full"].map(|name| (name.into(), Change::Resolved));
    assert_eq!(changes, resolved);
}

#[test]
fn rows_that_could_not_be_stored_are_told_with_the_command_that_helps() {
    let mut script = Script::new();
    let waiting = "marketprism_broker_dead_letters 3\nmarketprism_broker_dead_letters_full 1\n";
    let (view, changes) = script.round(0, vec![("broker", ready(waiting))], Ok(vec![]));
    let fired = |name: &str| changes.contains(&(name.into(), Change::Fired));
    assert!(fired("dead-letters") && fired("dead-letters-full"), "{changes:?}");
    let summaries: Vec<String> = view.alerts.iter().map(|alert| alert.summary()).collect();
    let expected = "3 rows could not be stored and wait: marketprism dead-letter list, then \
                    marketprism dead-letter redrive";
    assert!(summaries.iter().any(|summary| summary == expected), "{summaries:?}");
    let none = "marketprism_broker_dead_letters 0\nmarketprism_broker_dead_letters_full 0\n";
    let (_, changes) = script.round(5, vec![("broker", ready(none))], Ok(vec![]));
    let resolved =
        ["dead-letters", "dead-letters-full"].map(|name| (name.into(), Change::Resolved));
    assert_eq!(changes, resolved);
}

#[test]
fn a_unit_that_is_given_up_and_one_that_the_watchdog_killed_are_told() {
    let mut script = Script::new();
    let failed = Unit { active_state: "failed".into(), ..unit("broker", 0, "a") };
    script.round(0, vec![], Ok(vec![failed.clone(), unit("storage", 0, "a")]));
    let killed = Unit { result: Some("watchdog".into()), ..unit("storage", 0, "a") };
    let (view, changes) = script.round(5, vec![], Ok(vec![failed, killed]));
    assert!(changes.contains(&("watchdog-kill".into(), Change::Fired)), "{changes:?}");
    let summaries: Vec<String> = view.alerts.iter().map(|alert| alert.summary()).collect();
    let unit = "marketprism-broker.service";
    let failed = format!("{unit} has failed and is not started again: journalctl -u {unit}");
    assert!(summaries.contains(&failed), "{summaries:?}");
    let killed = "storage was stuck and systemd's watchdog killed it";
    assert!(summaries.iter().any(|summary| summary == killed), "{summaries:?}");
}

#[test]
fn a_kill_is_not_told_again_when_systemd_did_not_answer_for_a_while() {
    let mut script = Script::new();
    let killed = || Unit { result: Some("watchdog".into()), ..unit("storage", 0, "a") };
    let probe = || vec![("storage", ready(""))];
    script.round(0, probe(), Ok(vec![unit("storage", 0, "a")]));
    script.round(5, probe(), Ok(vec![killed()]));
    let (_, changes) = script.round(600, probe(), no_bus());
    assert_eq!(changes, [("watchdog-kill".into(), Change::Resolved)]);
    let (_, changes) = script.round(5, probe(), Ok(vec![killed()]));
    assert_eq!(changes, []);
}

#[test]
fn a_full_disk_and_an_expiring_certificate_fire_and_explain_the_milder_alert() {
    let mut monitor = monitor();
    let mut round = |second: i64| {
        monitor.handle_round(Round {
            started: units::UnixNanos::new(0),
            cycle: Cycle { at: second * SECOND, took: Duration::ZERO },
            probes: Vec::new(),
            units: Ok(Vec::new()),
            host: Host {
                disks: vec![("/data".into(), Ok(Disk { used: 97, free: 3 }))],
                certificates: vec![("/crt".into(), Ok(second + 86_400))],
            },
            completeness: Vec::new(),
        })
    };
    round(0);
    let (view, _) = round(300);
    let told: Vec<(&str, bool)> = view
        .told
        .iter()
        .map(|told| {
            let name = told.active.labels["alertname"].as_str();
            (name, told.suppression.inhibited_by.is_empty())
        })
        .collect();
    let expected = [
        ("certificate-expired", true),
        ("certificate-expiring", false),
        ("disk-filling", false),
        ("disk-full", true),
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_cannot_be_looked_at_is_told_and_that_ends_when_it_can() {
    let mut monitor = monitor();
    let mut round = |second: i64, expiry: Result<i64, String>| {
        let (view, outcome) = monitor.handle_round(Round {
            started: units::UnixNanos::new(0),
            cycle: Cycle { at: second * SECOND, took: Duration::ZERO },
            probes: Vec::new(),
            units: Ok(Vec::new()),
            host: Host {
                disks: vec![("/data".into(), Ok(Disk { used: 1, free: 3 }))],
                certificates: vec![("/crt".into(), expiry)],
            },
            completeness: Vec::new(),
        });
        let changes = outcome.transitions.into_iter();
        (view, changes.map(|it| (it.alert.rule.name.clone(), it.change)).collect::<Vec<_>>())
    };
    let denied = || Err("Permission denied (os error 13)".to_owned());
    let (_, changes) = round(0, denied());
    assert_eq!(changes, [("watched-unreadable".into(), Change::Pending)]);
    let (view, changes) = round(300, denied());
    assert_eq!(changes, [("watched-unreadable".into(), Change::Fired)]);
    let summary = view.alerts[0].summary();
    assert!(summary.starts_with("certificate /crt cannot be looked at"), "{summary}");
    let (_, changes) = round(305, Ok(400_000_000));
    assert_eq!(changes, [("watched-unreadable".into(), Change::Resolved)]);
}

#[test]
fn alerts_and_silences_survive_a_restart() {
    let refused = || vec![("storage", Err("connection refused".into()))];
    let mut before = Script::new();
    before.round(0, refused(), no_bus());
    let silence = alert::Silence {
        id: String::new(),
        matchers: vec!["service=storage".parse().unwrap()],
        starts_at: units::UnixNanos::new(0),
        ends_at: units::UnixNanos::new(3_600 * SECOND),
        updated_at: units::UnixNanos::new(0),
        created_by: "op".into(),
        comment: "work".into(),
    };
    let at = units::UnixNanos::new(1);
    before.monitor.alerting.handle_silence(silence, "id".into(), at).unwrap();

    let mut after = Script::new();
    after.monitor.restore(before.monitor.save(), units::UnixNanos::new(5 * SECOND));
    let (view, changes) = after.round(15, refused(), no_bus());
    assert_eq!(changes, [("service-down".into(), Change::Fired)]);
    assert_eq!(view.told[0].suppression.silenced_by, ["id"]);
}
