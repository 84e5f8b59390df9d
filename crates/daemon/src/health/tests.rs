//! Ring 1.

use std::time::{Duration, Instant};

use super::{Health, Required};

fn age(health: &Health, name: &str, seconds: u64) {
    let dependency = health.dependency(name, Required::No);
    let since = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
    dependency.state.lock().unwrap().since = since;
}

#[test]
fn a_dependency_is_away_until_it_is_reported() {
    let health = Health::new();
    let nats = health.dependency("nats", Required::No);
    assert!(!health.is_ok());
    assert_eq!(health.lines()[0].reason.as_deref(), Some("not yet tried"));
    nats.up();
    assert!(health.is_ok());
}

#[test]
fn without_what_it_requires_a_service_is_not_ready() {
    let health = Health::new();
    let spool = health.dependency("spool", Required::Yes);
    assert_eq!(health.unready(), ["spool: not yet tried, for 0 s"]);
    spool.up();
    assert!(health.is_ready());
    spool.down("disk full");
    assert_eq!(health.unready(), ["spool: disk full, for 0 s"]);
}

#[test]
fn something_optional_may_be_away_for_its_grace() {
    let health = Health::new();
    let nats = health.dependency("nats", Required::No);
    age(&health, "nats", 29);
    assert!(health.is_ready() && !health.is_ok());
    age(&health, "nats", 32);
    assert_eq!(health.unready(), ["nats: not yet tried, for 32 s"]);
    nats.down("refused");
    assert_eq!(health.unready(), ["nats: refused, for 32 s"]);
    nats.up();
    nats.down("refused");
    assert!(health.is_ready(), "the grace begins anew");
}

#[test]
fn without_what_it_never_requires_a_service_is_ready_and_not_well() {
    let health = Health::new();
    let watched = health.dependency("watched", Required::Never);
    age(&health, "watched", 3_600);
    assert!(health.is_ready() && !health.is_ok());
    watched.up();
    assert!(health.is_ok());
}

#[test]
fn a_broken_process_is_neither_ok_nor_ready() {
    let health = Health::new();
    health.set_broken(Some("task `feed` is stuck".to_owned()));
    assert!(!health.is_ok());
    assert_eq!(health.unready(), ["task `feed` is stuck"]);
    health.set_broken(None);
    assert!(health.is_ok() && health.is_ready());
}
