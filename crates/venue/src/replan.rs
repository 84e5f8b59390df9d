//! Which connection carries what, when what is wanted changes while they run.

use crate::{Adapter, ConnectionPlan, Feed};
use model::InstrumentId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Plans connections anew. A stream that is carried already stays where it is; what is not wanted
/// any more is left; what is new goes to a connection of the same path that has room, best to one
/// that carries the same instrument, else to a new connection. A connection that carries nothing
/// any more is not among the answer.
///
/// The difference between a plan and its successor is what has to be said on that connection: the
/// streams that are left first, so that it never carries more than it may.
#[must_use]
pub fn replan<A: Adapter>(
    adapter: &A,
    running: &[ConnectionPlan],
    wanted: &[Feed],
    streams_max: usize,
) -> Vec<ConnectionPlan> {
    let streams_max = streams_max.clamp(1, A::LIMITS.streams_per_connection);
    let mut wanted: Vec<&Feed> = wanted.iter().collect();
    wanted.sort();
    wanted.dedup();
    let carriers = carriers(adapter, &wanted);
    let notice = adapter.notice();
    let is_wanted = |stream: &String| {
        carriers.contains_key(stream) || notice.as_ref().is_some_and(|it| it.stream == *stream)
    };
    let mut carried = BTreeSet::new();
    let mut plans: Vec<ConnectionPlan> = if running.is_empty() {
        let wanted: Vec<Feed> = wanted.iter().map(|feed| (*feed).clone()).collect();
        adapter.connections(&wanted, streams_max)
    } else {
        running.to_vec()
    };
    for plan in &mut plans {
        plan.streams.retain(|stream| is_wanted(stream) && carried.insert(stream.clone()));
    }
    for feeds in wanted.chunk_by(|a, b| a.instrument == b.instrument) {
        let is_missing =
            |feed: &&&Feed| adapter.streams(feed).iter().any(|stream| !carried.contains(stream));
        let missing: Vec<Feed> =
            feeds.iter().filter(is_missing).map(|feed| (*feed).clone()).collect();
        for mut part in adapter.connections(&missing, streams_max) {
            part.streams.retain(|stream| carried.insert(stream.clone()));
            if !part.streams.is_empty() {
                place(adapter, &mut plans, part, streams_max);
            }
        }
    }
    let is_used = |plan: &ConnectionPlan| plan.streams.iter().any(|it| carriers.contains_key(it));
    plans.retain(is_used);
    // The connection that carried the notice may have gone.
    let is_told = |stream: &String| plans.iter().any(|plan| plan.streams.contains(stream));
    if let Some(notice) = notice.filter(|notice| !is_told(&notice.stream)) {
        let has_room = |plan: &&mut ConnectionPlan| {
            plan.path == notice.path && plan.streams.len() < streams_max
        };
        if let Some(plan) = plans.iter_mut().find(has_room) {
            plan.streams.push(notice.stream);
        }
    }
    assign(&mut plans, &carriers, &wanted);
    plans
}

/// By stream, the instruments that it is wanted for, in order.
type Carriers = BTreeMap<String, Vec<Arc<InstrumentId>>>;

fn carriers<A: Adapter>(adapter: &A, wanted: &[&Feed]) -> Carriers {
    let mut carriers = Carriers::new();
    for feed in wanted {
        for stream in adapter.streams(feed) {
            let instruments = carriers.entry(stream).or_default();
            if instruments.last() != Some(&feed.instrument) {
                instruments.push(Arc::clone(&feed.instrument));
            }
        }
    }
    carriers
}

/// Puts the streams of one instrument onto a connection.
fn place<A: Adapter>(
    adapter: &A,
    plans: &mut Vec<ConnectionPlan>,
    part: ConnectionPlan,
    streams_max: usize,
) {
    let fits = |plan: &ConnectionPlan| {
        plan.path == part.path && plan.streams.len() + part.streams.len() <= streams_max && {
            let together: Vec<String> = plan.streams.iter().chain(&part.streams).cloned().collect();
            adapter.fits(&together)
        }
    };
    let is_home = |plan: &ConnectionPlan| {
        part.instruments.iter().any(|instrument| plan.instruments.contains(instrument))
    };
    let home = plans.iter().position(|plan| is_home(plan) && fits(plan));
    let place = home.or_else(|| plans.iter().position(fits));
    if let Some(plan) = place.and_then(|index| plans.get_mut(index)) {
        plan.streams.extend(part.streams);
        plan.instruments.extend(part.instruments);
    } else {
        let name = free_name(plans, &part.name);
        plans.push(ConnectionPlan { name, ..part });
    }
}

/// A name that no connection has: the given one, or the same with another number.
fn free_name(plans: &[ConnectionPlan], name: &str) -> String {
    let stem = name.rsplit_once('-').map_or(name, |(stem, _)| stem);
    let is_free = |name: &String| plans.iter().all(|plan| plan.name != *name);
    (0..=plans.len())
        .map(|number| format!("{stem}-{number}"))
        .find(is_free)
        .unwrap_or_else(|| name.to_owned())
}

/// Says whose streams each connection carries. A stream that several instruments share is its
/// first one's; an instrument that has no other belongs to the connection of the shared one, too.
fn assign(plans: &mut [ConnectionPlan], carriers: &Carriers, wanted: &[&Feed]) {
    let mut owners = BTreeSet::new();
    for plan in &mut *plans {
        let owner = |stream: &String| carriers.get(stream)?.first();
        let instruments: BTreeSet<_> = plan.streams.iter().filter_map(owner).cloned().collect();
        owners.extend(instruments.iter().cloned());
        plan.instruments = instruments.into_iter().collect();
    }
    for feeds in wanted.chunk_by(|a, b| a.instrument == b.instrument) {
        let instrument = &feeds[0].instrument;
        if owners.contains(instrument) {
            continue;
        }
        let shares = |stream: &String| {
            carriers.get(stream).is_some_and(|instruments| instruments.contains(instrument))
        };
        if let Some(plan) = plans.iter_mut().find(|plan| plan.streams.iter().any(shares)) {
            plan.instruments.push(Arc::clone(instrument));
        }
    }
}
