//! Who starts before whom, and who can take whom down.

use std::collections::{BTreeMap, BTreeSet};

use packaging::Level;
use packaging::suite::{SERVICES, daemons};

use crate::parsed::{ALERT, Unit, services, units};

/// Every unit of the suite that must have started before `name`, directly or not.
fn before(name: &str, units: &BTreeMap<String, Unit>, path: &mut Vec<String>) -> BTreeSet<String> {
    assert!(!path.iter().any(|seen| seen == name), "a cycle: {} → {name}", path.join(" → "));
    path.push(name.to_owned());
    let mut all = BTreeSet::new();
    for direct in units[name].words("After") {
        if units.contains_key(direct) {
            all.insert(direct.to_owned());
            all.extend(before(direct, units, path));
        }
    }
    path.pop();
    all
}

#[test]
fn the_services_start_in_the_promised_order() {
    for level in Level::ALL {
        let units = units(level);
        let starts_after = |late: &str, early: &str| {
            let name = format!("marketprism-{late}.service");
            let all = before(&name, &units, &mut Vec::new());
            assert!(all.contains(&format!("marketprism-{early}.service")), "{late} after {early}");
        };
        starts_after("nats", "monitoring");
        starts_after("broker", "nats");
        starts_after("storage", "broker");
        for last in ["collector", "collector@", "gateway", "scheduler"] {
            starts_after(last, "storage");
        }
    }
}

#[test]
fn every_after_within_the_suite_names_a_unit_that_exists() {
    for (name, unit) in units(Level::V252) {
        for other in unit.words("After").into_iter().chain(unit.words("Wants")) {
            if other.starts_with("marketprism") {
                assert!(units(Level::V252).contains_key(other), "{name}: {other}");
            }
        }
    }
}

#[test]
fn the_table_is_in_the_order_of_starting() {
    for (position, service) in SERVICES.iter().enumerate() {
        for earlier in service.after {
            let found = SERVICES.iter().position(|other| other.name == *earlier);
            assert!(found.is_some_and(|found| found < position), "{} {earlier}", service.name);
        }
    }
}

#[test]
fn no_unit_requires_another() {
    for level in Level::ALL {
        for (name, unit) in units(level) {
            let hard = ["Requires", "Requisite", "BindsTo", "PropagatesStopTo", "Upholds"];
            let found = unit.keys().find(|key| hard.contains(key));
            assert_eq!(found, None, "{name}");
        }
    }
}

#[test]
fn every_member_stops_with_the_target_and_is_wanted_by_it() {
    for level in Level::ALL {
        for (name, unit) in units(level) {
            if name != ALERT && (name.ends_with(".service") || name.ends_with(".socket")) {
                assert_eq!(unit.words("PartOf"), ["marketprism.target"], "{name}");
                assert_eq!(unit.words("WantedBy"), ["marketprism.target"], "{name}");
                assert_eq!(unit.words("Slice"), ["marketprism.slice"], "{name}");
            }
        }
    }
}

#[test]
fn every_service_that_fails_for_good_is_reported_under_its_own_name() {
    for level in Level::ALL {
        for (name, unit) in services(level) {
            assert_eq!(unit.words("OnFailure"), ["marketprism-alert@%n.service"], "{name}");
        }
        assert!(units(level)[ALERT].words("OnFailure").is_empty(), "a report has no report");
    }
}

#[test]
fn users_and_directories_are_not_shared() {
    for key in ["RuntimeDirectory", "StateDirectory", "LogExtraFields"] {
        let all = services(Level::V252);
        let values: Vec<&str> = all.values().flat_map(|unit| unit.words(key)).collect();
        let distinct: BTreeSet<&&str> = values.iter().collect();
        assert_eq!(values.len(), all.len(), "{key} is set once in every service");
        assert_eq!(distinct.len(), all.len(), "{key}: {values:?}");
    }
    let users: BTreeSet<String> = SERVICES.iter().map(|service| service.unit()).collect();
    assert_eq!(users.len(), SERVICES.len());
}

#[test]
fn every_daemon_is_watched_and_checks_before_it_reloads() {
    let all = services(Level::V252);
    for service in daemons() {
        let unit = &all[&format!("{}.service", service.unit())];
        assert_eq!(unit.words("Type"), ["notify"]);
        assert_eq!(unit.words("WatchdogSec"), ["30s"]);
        let reload = unit.values("ExecReload");
        assert!(reload[0].ends_with("--check") && reload[1].ends_with("-HUP $MAINPID"));
    }
}

#[test]
fn the_ports_are_those_of_the_default_configuration() {
    let suite = settings::Suite::default();
    for (name, listen) in [
        ("gateway", suite.gateway.listen),
        ("collector", suite.collector.listen),
        ("storage", suite.storage.listen),
        ("monitoring", suite.monitoring.listen),
        ("scheduler", suite.scheduler.listen),
        ("broker", suite.broker.listen),
        ("nats", suite.broker.nats.listen),
    ] {
        let service = SERVICES.iter().find(|service| service.name == name).unwrap();
        assert_eq!((name, service.port), (name, listen.port()));
    }
    let socket = units(Level::V252);
    let listens = socket["marketprism-gateway.socket"].words("ListenStream");
    assert_eq!(listens, [suite.gateway.listen.to_string().as_str()]);
}
