//! Ring 1: units in, lines of an exposition out.

use expect_test::{Expect, expect};
use prometheus_client::registry::Registry;

use super::{Own, Shown, Systemd};
use crate::pressure::{Pressure, Pressures, parse};
use crate::unit::Unit;

fn pressure() -> Pressure {
    let line =
        |share: &str, total: u64| format!("{share} avg10=0 avg60=0 avg300=0 total={total}\n");
    parse(&(line("some", 2_500_000) + &line("full", 1_000_000))).unwrap()
}

fn storage() -> Unit {
    let of_the_processor = Pressure { full: None, ..pressure() };
    Unit {
        name: "marketprism-storage.service".into(),
        active_state: "active".into(),
        started_at: Some(1_700_000_000_500_000_000),
        memory_bytes: Some(12_582_912),
        cpu_ns: Some(1_250_000_000),
        tasks: Some(4),
        automatic_restarts: Some(2),
        pressure: Some(Pressures {
            cpu: Some(of_the_processor),
            memory: None,
            io: Some(pressure()),
        }),
        ..Unit::default()
    }
}

/// A unit that systemd lists and says no more about, since it is no service of ours.
fn target() -> Unit {
    Unit { name: "marketprism.target".into(), active_state: "inactive".into(), ..Unit::default() }
}

fn check(register: fn(&telemetry::Registry, Shown), units: &[Unit], expected: &Expect) {
    let registry = telemetry::Registry::new("monitoring");
    let shown = Shown::default();
    register(&registry, shown.clone());
    shown.show(units);
    expected.assert_eq(&registry.encode().unwrap());
    shown.show(&[]);
    assert_eq!(registry.encode().unwrap(), "# EOF\n");
}

#[test]
fn a_unit_has_what_is_known_of_it_under_our_names() {
    let own = |registry: &telemetry::Registry, shown: Shown| {
        registry.with(|registry: &mut Registry| registry.register_collector(Box::new(Own(shown))));
    };
    check(
        own,
        &[storage(), target()],
        &expect![[r#"
            # HELP marketprism_monitoring_unit_memory_bytes Memory of the whole unit
            # TYPE marketprism_monitoring_unit_memory_bytes gauge
            # UNIT marketprism_monitoring_unit_memory_bytes bytes
            marketprism_monitoring_unit_memory_bytes{unit="marketprism-storage.service"} 12582912.0
            # HELP marketprism_monitoring_unit_tasks Threads and processes of the unit
            # TYPE marketprism_monitoring_unit_tasks gauge
            marketprism_monitoring_unit_tasks{unit="marketprism-storage.service"} 4.0
            # HELP marketprism_monitoring_unit_cpu_seconds Processor time of the whole unit since it was started
            # TYPE marketprism_monitoring_unit_cpu_seconds counter
            # UNIT marketprism_monitoring_unit_cpu_seconds seconds
            marketprism_monitoring_unit_cpu_seconds_total{unit="marketprism-storage.service"} 1.25
            # HELP marketprism_monitoring_unit_pressure_seconds How long threads of the unit waited; share: some of them, or all (full)
            # TYPE marketprism_monitoring_unit_pressure_seconds counter
            # UNIT marketprism_monitoring_unit_pressure_seconds seconds
            marketprism_monitoring_unit_pressure_seconds_total{unit="marketprism-storage.service",resource="cpu",share="some"} 2.5
            marketprism_monitoring_unit_pressure_seconds_total{unit="marketprism-storage.service",resource="io",share="some"} 2.5
            marketprism_monitoring_unit_pressure_seconds_total{unit="marketprism-storage.service",resource="io",share="full"} 1.0
            # EOF
        "#]],
    );
}

#[test]
fn a_unit_has_the_names_and_labels_that_dashboards_for_systemd_go_by() {
    let systemd = |registry: &telemetry::Registry, shown: Shown| {
        registry.with_foreign(|registry: &mut Registry| {
            registry.register_collector(Box::new(Systemd(shown)));
        });
    };
    check(
        systemd,
        &[storage(), target()],
        &expect![[r#"
            # HELP systemd_unit_state Systemd unit
            # TYPE systemd_unit_state gauge
            systemd_unit_state{name="marketprism-storage.service",type="service",state="active"} 1.0
            systemd_unit_state{name="marketprism-storage.service",type="service",state="activating"} 0.0
            systemd_unit_state{name="marketprism-storage.service",type="service",state="deactivating"} 0.0
            systemd_unit_state{name="marketprism-storage.service",type="service",state="inactive"} 0.0
            systemd_unit_state{name="marketprism-storage.service",type="service",state="failed"} 0.0
            systemd_unit_state{name="marketprism.target",type="target",state="active"} 0.0
            systemd_unit_state{name="marketprism.target",type="target",state="activating"} 0.0
            systemd_unit_state{name="marketprism.target",type="target",state="deactivating"} 0.0
            systemd_unit_state{name="marketprism.target",type="target",state="inactive"} 1.0
            systemd_unit_state{name="marketprism.target",type="target",state="failed"} 0.0
            # HELP systemd_unit_start_time_seconds Start time of the unit since unix epoch
            # TYPE systemd_unit_start_time_seconds gauge
            # UNIT systemd_unit_start_time_seconds seconds
            systemd_unit_start_time_seconds{name="marketprism-storage.service",type="service"} 1700000000.5
            # HELP systemd_service_restart Service unit count of Restart triggers
            # TYPE systemd_service_restart counter
            systemd_service_restart_total{name="marketprism-storage.service"} 2.0
            # HELP systemd_unit_tasks_current Current number of tasks per Systemd unit
            # TYPE systemd_unit_tasks_current gauge
            systemd_unit_tasks_current{name="marketprism-storage.service"} 4.0
            # EOF
        "#]],
    );
}

#[test]
fn a_unit_that_is_not_active_was_started_at_zero() {
    let start =
        |active_state: &str| super::start(&Unit { active_state: active_state.into(), ..storage() });
    assert_eq!(start("failed"), Some(0.0));
    assert_eq!(start("active"), Some(1_700_000_000.5));
    assert_eq!(super::start(&target()), None);
}
