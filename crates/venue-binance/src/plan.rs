//! Streams spread over connections, and the requests that subscribe to them.

use std::sync::Arc;
use venue::{ConnectionPlan, Feed, Request};

/// Where the streams of a plan are served, and what its connections are called.
pub(crate) struct Door<'a> {
    /// A connection's name without its number.
    pub(crate) name: &'a str,
    pub(crate) path: &'a str,
}

/// Spreads what is wanted over connections with at most `streams_max` streams each. The streams of
/// an instrument stay together as long as they fit; kinds that share a stream have it once.
pub(crate) fn spread(
    wanted: &[Feed],
    streams_max: usize,
    door: &Door<'_>,
    streams: impl Fn(&Feed) -> Option<String>,
) -> Vec<ConnectionPlan> {
    let mut wanted: Vec<&Feed> = wanted.iter().collect();
    wanted.sort();
    wanted.dedup();
    let mut plans: Vec<ConnectionPlan> = Vec::new();
    for feeds in wanted.chunk_by(|a, b| a.instrument == b.instrument) {
        let mut names: Vec<String> = Vec::new();
        for name in feeds.iter().filter_map(|feed| streams(feed)) {
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

/// Packs streams into as few requests as the frame limit allows.
pub(crate) fn requests(
    method: &str,
    streams: &[String],
    next_id: &mut u64,
    bytes_max: usize,
) -> Vec<Request> {
    // The brackets, the keys and the longest id.
    let overhead = method.len() + 60;
    let mut frames = Vec::new();
    let mut batch: Vec<String> = Vec::new();
    let mut bytes = overhead;
    let mut flush = |batch: &mut Vec<String>| {
        if !batch.is_empty() {
            let params = batch.join(",");
            let frame = format!(r#"{{"method":"{method}","params":[{params}],"id":{next_id}}}"#);
            frames.push(Request { frame, confirmations: 1 });
            *next_id += 1;
            batch.clear();
        }
    };
    for stream in streams {
        let quoted = serde_json::Value::from(stream.as_str()).to_string();
        if bytes + quoted.len() + 1 > bytes_max {
            flush(&mut batch);
            bytes = overhead;
        }
        bytes += quoted.len() + 1;
        batch.push(quoted);
    }
    flush(&mut batch);
    frames
}
