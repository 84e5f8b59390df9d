//! Ring 1.

use prometheus_client::metrics::counter::Counter;

use super::Registry;
use crate::{Process, UnitFacts};

#[test]
fn names_begin_with_product_and_service() {
    let registry = Registry::new("collector");
    let gaps = Counter::<u64>::default();
    registry.with(|registry| registry.register("gaps", "Gaps", gaps.clone()));
    gaps.inc();
    registry.with_common(|registry| registry.register("gaps", "Gaps", gaps.clone()));
    let text = registry.encode().unwrap();
    assert!(text.contains("marketprism_collector_gaps_total 1\n"), "{text}");
    assert!(text.contains("marketprism_gaps_total{service=\"collector\"} 1\n"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn names_of_other_programs_have_no_prefix() {
    let registry = Registry::new("collector");
    let restarts = Counter::<u64>::default();
    registry.with_foreign(|registry| registry.register("a_restart", "Restarts", restarts.clone()));
    registry.with(|registry| registry.register("gaps", "Gaps", restarts.clone()));
    let text = registry.encode().unwrap();
    assert!(text.contains("\na_restart_total 0\n"), "{text}");
    assert!(text.contains("marketprism_collector_gaps_total 0\n"), "{text}");
    assert_eq!(text.matches("# EOF\n").count(), 1, "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn the_process_tells_what_it_knows() {
    let registry = Registry::new("collector");
    let facts =
        UnitFacts { invocation: "abc".to_owned(), version: "1.2.3", ..UnitFacts::default() };
    let process = Process::new(facts);
    assert!(process.resident_bytes().unwrap() > 100_000);
    registry.collect(Box::new(process));
    let text = registry.encode().unwrap();
    assert!(text.contains("# UNIT marketprism_process_resident_memory_bytes bytes\n"), "{text}");
    let info =
        "marketprism_unit_info{service=\"collector\",invocation_id=\"abc\",version=\"1.2.3\"}";
    assert!(text.contains(info), "{text}");
    assert!(!text.contains("watchdog"), "absent, not zero: {text}");
}
