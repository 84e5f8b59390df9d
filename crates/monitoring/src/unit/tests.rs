//! Ring 1: property maps as systemd 252 sends them.

use zbus::{OwnedObjectPath, OwnedVariant, Variant};

use super::{Listed, Properties, Unit};

fn listed(name: &str, active: &str, sub: &str) -> Listed {
    let path = OwnedObjectPath::try_from("/org/freedesktop/systemd1/unit/x").unwrap();
    let text = |text: &str| text.to_owned();
    (
        text(name),
        text("MarketPrism"),
        text("loaded"),
        text(active),
        text(sub),
        text(""),
        path.clone(),
        0,
        text(""),
        path,
    )
}

fn variant<'a>(value: impl Into<Variant<'a>>) -> OwnedVariant {
    value.into().try_into().unwrap()
}

#[test]
fn a_running_service_is_described_in_full() {
    let properties = Properties::from([
        ("NRestarts".to_owned(), variant(2_u32)),
        ("Result".to_owned(), variant("success")),
        ("StatusText".to_owned(), variant("3/3 feeds synced")),
        ("MainPID".to_owned(), variant(4711_u32)),
        ("ExecMainStartTimestamp".to_owned(), variant(1_700_000_000_000_001_u64)),
        ("WatchdogTimestamp".to_owned(), variant(1_700_000_005_000_000_u64)),
        ("WatchdogUSec".to_owned(), variant(30_000_000_u64)),
        ("MemoryCurrent".to_owned(), variant(12_582_912_u64)),
        ("MemoryMax".to_owned(), variant(u64::MAX)),
        ("CPUUsageNSec".to_owned(), variant(5_000_000_u64)),
        ("TasksCurrent".to_owned(), variant(4_u64)),
        ("ControlGroup".to_owned(), variant("/marketprism.slice/marketprism-collector.service")),
    ]);
    let unit = Unit::listed(listed("marketprism-collector.service", "active", "running"))
        .with_service(&properties)
        .with_invocation(&[0xab; 16]);
    assert_eq!(
        unit,
        Unit {
            name: "marketprism-collector.service".into(),
            load_state: "loaded".into(),
            active_state: "active".into(),
            sub_state: "running".into(),
            result: Some("success".into()),
            status_text: Some("3/3 feeds synced".into()),
            main_pid: Some(4711),
            started_at: Some(1_700_000_000_000_001_000),
            watchdog_at: Some(1_700_000_005_000_000_000),
            watchdog_ns: Some(30_000_000_000),
            memory_bytes: Some(12_582_912),
            memory_max_bytes: None,
            cpu_ns: Some(5_000_000),
            tasks: Some(4),
            automatic_restarts: Some(2),
            control_group: Some("/marketprism.slice/marketprism-collector.service".into()),
            pressure: None,
            pressure_error: None,
            invocation_id: Some("ab".repeat(16)),
        }
    );
    assert!(unit.is_active());
    assert_eq!(unit.service(), Some("collector"));
}

#[test]
fn what_systemd_does_not_know_is_absent_not_zero() {
    let properties = Properties::from([
        ("NRestarts".to_owned(), variant(0_u32)),
        ("StatusText".to_owned(), variant("")),
        ("ControlGroup".to_owned(), variant("")),
        ("MainPID".to_owned(), variant(0_u32)),
        ("ExecMainStartTimestamp".to_owned(), variant(0_u64)),
        ("MemoryCurrent".to_owned(), variant(u64::MAX)),
        ("CPUUsageNSec".to_owned(), variant(u64::MAX)),
    ]);
    let unit = Unit::listed(listed("marketprism-storage.service", "failed", "failed"))
        .with_service(&properties)
        .with_invocation(&[0; 16]);
    assert_eq!(
        (unit.main_pid, unit.started_at, unit.memory_bytes, unit.cpu_ns),
        (None, None, None, None)
    );
    assert_eq!(
        (unit.status_text.as_deref(), unit.tasks, unit.invocation_id.as_deref()),
        (None, None, None)
    );
    assert_eq!((unit.automatic_restarts, unit.control_group.as_deref()), (Some(0), None));
    assert!(!unit.is_active());
}

#[test]
fn a_property_of_another_type_is_absent() {
    let properties = Properties::from([
        ("NRestarts".to_owned(), variant("many")),
        ("MainPID".to_owned(), variant(1_u64)),
    ]);
    let unit = Unit::listed(listed("marketprism-gateway.socket", "active", "listening"))
        .with_service(&properties);
    assert_eq!((unit.automatic_restarts, unit.main_pid), (None, None));
    assert_eq!(unit.service(), None);
}
