//! Ring 1: property maps as systemd 252 sends them.

use zbus::Variant;

use super::*;

fn variant<'a>(value: impl Into<Variant<'a>>) -> OwnedVariant {
    value.into().try_into().unwrap()
}

#[test]
fn a_timer_of_the_calendar_tells_when_it_elapses() {
    let facts = BTreeMap::from([
        ("Unit".to_owned(), variant("marketprism-mirror.service")),
        ("NextElapseUSecRealtime".to_owned(), variant(1_700_000_060_000_000_u64)),
        ("LastTriggerUSec".to_owned(), variant(1_700_000_000_000_000_u64)),
    ]);
    assert_eq!(
        timer("marketprism-mirror.timer".into(), "active".into(), &facts),
        Timer {
            name: "marketprism-mirror.timer".into(),
            active: "active".into(),
            unit: "marketprism-mirror.service".into(),
            next: Some(1_700_000_060_000_000_000),
            last: Some(1_700_000_000_000_000_000),
        }
    );
}

#[test]
fn a_timer_that_counts_from_an_event_and_never_ran_tells_no_time() {
    let facts = BTreeMap::from([
        ("Unit".to_owned(), variant("marketprism-mirror.service")),
        ("NextElapseUSecRealtime".to_owned(), variant(u64::MAX)),
        ("LastTriggerUSec".to_owned(), variant(0_u64)),
    ]);
    let timer = timer("marketprism-mirror.timer".into(), "inactive".into(), &facts);
    assert_eq!((timer.next, timer.last), (None, None));
}
