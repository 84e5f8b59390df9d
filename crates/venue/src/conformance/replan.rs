//! Connections that change while they run.

use crate::{Adapter, ConnectionPlan, Feed, replan};
use model::InstrumentId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Drops and takes up instruments in turn, and looks at what becomes of the connections.
pub(super) fn check<A: Adapter>(adapter: &A, feeds: &[Feed], streams_max: usize) {
    let instruments: BTreeSet<&Arc<InstrumentId>> =
        feeds.iter().map(|feed| &feed.instrument).collect();
    let without = |dropped: &[&Arc<InstrumentId>]| -> Vec<Feed> {
        feeds.iter().filter(|feed| !dropped.contains(&&feed.instrument)).cloned().collect()
    };
    let mut plans = replan(adapter, &[], feeds, streams_max);
    sound(adapter, &plans, feeds, streams_max);
    for dropped in &instruments {
        for wanted in [without(&[*dropped]), feeds.to_vec()] {
            plans = changed(adapter, &plans, &wanted, streams_max);
        }
    }
    // All but one go, and come back one after another.
    let all: Vec<_> = instruments.into_iter().collect();
    for left in 1..=all.len() {
        plans = changed(adapter, &plans, &without(&all[left..]), streams_max);
    }
    assert!(replan(adapter, &plans, &[], streams_max).is_empty(), "nothing is wanted");
}

/// Replans, and checks that nothing moved that could stay.
fn changed<A: Adapter>(
    adapter: &A,
    before: &[ConnectionPlan],
    wanted: &[Feed],
    streams_max: usize,
) -> Vec<ConnectionPlan> {
    let after = replan(adapter, before, wanted, streams_max);
    sound(adapter, &after, wanted, streams_max);
    let homes = |plans: &[ConnectionPlan]| -> BTreeMap<String, String> {
        let of = |plan: &ConnectionPlan| {
            plan.streams
                .iter()
                .map(|stream| (stream.clone(), plan.name.clone()))
                .collect::<Vec<_>>()
        };
        plans.iter().flat_map(of).collect()
    };
    let (old, new) = (homes(before), homes(&after));
    let notice = adapter.notice().map(|notice| notice.stream);
    for (stream, name) in new.iter().filter(|(stream, _)| Some(*stream) != notice.as_ref()) {
        assert!(old.get(stream).is_none_or(|before| before == name), "{stream} moved to {name}");
    }
    assert_eq!(replan(adapter, &after, wanted, streams_max), after, "a second time it is no news");
    after
}

/// Every wanted stream is carried once, within the limits, and by one who knows whose it is.
fn sound<A: Adapter>(adapter: &A, plans: &[ConnectionPlan], wanted: &[Feed], streams_max: usize) {
    let notice = adapter.notice().map(|notice| notice.stream);
    let all = plans.iter().flat_map(|plan| &plan.streams);
    let carried: Vec<&String> = all.filter(|stream| Some(*stream) != notice.as_ref()).collect();
    let expected: BTreeSet<String> = wanted.iter().flat_map(|feed| adapter.streams(feed)).collect();
    assert_eq!(carried.len(), expected.len(), "a stream is carried twice, or not at all");
    assert!(carried.iter().all(|stream| expected.contains(*stream)));
    let most = streams_max.min(A::LIMITS.streams_per_connection);
    let names: BTreeSet<_> = plans.iter().map(|plan| &plan.name).collect();
    assert_eq!(names.len(), plans.len(), "two connections have one name");
    for plan in plans {
        assert!(plan.streams.len() <= most, "{} has {}", plan.name, plan.streams.len());
        // What an instrument alone has too much of is spread over several.
        assert!(adapter.fits(&plan.streams), "{}", plan.name);
    }
    let known: BTreeSet<_> = plans.iter().flat_map(|plan| &plan.instruments).collect();
    let streamed = |feed: &&Feed| !adapter.streams(feed).is_empty();
    let expected: BTreeSet<_> =
        wanted.iter().filter(streamed).map(|feed| &feed.instrument).collect();
    assert_eq!(known, expected);
}
