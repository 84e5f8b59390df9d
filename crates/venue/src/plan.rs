//! Streams spread over connections, and packed into requests.

use crate::{ConnectionPlan, Feed};
use std::sync::Arc;

/// Where the streams of a plan are served, and what its connections are called.
#[derive(Debug, Clone, Copy)]
pub struct Door<'a> {
    /// A connection's name without its number.
    pub name: &'a str,
    /// See [`ConnectionPlan::path`].
    pub path: &'a str,
}

/// Spreads what is wanted over connections with at most `streams_max` streams each. The streams of
/// an instrument stay together as long as they fit; kinds that share a stream have it once.
#[must_use]
pub fn spread(
    wanted: &[Feed],
    streams_max: usize,
    door: &Door<'_>,
    streams: impl Fn(&Feed) -> Vec<String>,
) -> Vec<ConnectionPlan> {
    let mut wanted: Vec<&Feed> = wanted.iter().collect();
    wanted.sort();
    wanted.dedup();
    let mut plans: Vec<ConnectionPlan> = Vec::new();
    for feeds in wanted.chunk_by(|a, b| a.instrument == b.instrument) {
        let mut names: Vec<String> = Vec::new();
        for name in feeds.iter().flat_map(|feed| streams(feed)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let fits = |plan: &ConnectionPlan| plan.streams.len() + names.len() <= streams_max;
        if !plans.last().is_some_and(fits) && !names.is_empty() {
            plans.push(empty(door, plans.len()));
        }
        for name in names {
            if plans.last().is_some_and(|plan| plan.streams.len() == streams_max) {
                plans.push(empty(door, plans.len()));
            }
            let plan = plans.last_mut().expect("one was pushed for the first stream");
            plan.streams.push(name);
            if plan.instruments.last() != Some(&feeds[0].instrument) {
                plan.instruments.push(Arc::clone(&feeds[0].instrument));
            }
        }
    }
    plans
}

fn empty(door: &Door<'_>, number: usize) -> ConnectionPlan {
    ConnectionPlan {
        name: format!("{}-{number}", door.name),
        path: door.path.to_owned(),
        streams: Vec::new(),
        instruments: Vec::new(),
    }
}

/// Packs parts of requests into as few requests as the limits allow: at most `count_max` in each,
/// and `bytes_max` with a comma behind each part and the `overhead` of what stands around them.
#[must_use]
pub fn pack(
    parts: impl IntoIterator<Item = String>,
    overhead: usize,
    bytes_max: usize,
    count_max: usize,
) -> Vec<Vec<String>> {
    let mut batches: Vec<Vec<String>> = Vec::new();
    let mut bytes = overhead;
    for part in parts {
        let more = part.len() + 1;
        match batches.last_mut() {
            Some(batch) if batch.len() < count_max && bytes + more <= bytes_max => batch.push(part),
            Some(_) | None => {
                batches.push(vec![part]);
                bytes = overhead;
            }
        }
        bytes += more;
    }
    batches
}
