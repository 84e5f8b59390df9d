//! What passed the gateway since it started, kept for `/_gateway/stats`.
//!
//! Only atomic counters: a request touches five of them and takes no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

use crate::routes::{ROUTES, Route, TABLE, Target};

/// One above the highest status, 599, that is counted by itself.
const STATUSES: usize = 600;

/// Buckets per doubling: a percentile is at most 1/16 too high.
const BUCKETS_PER_OCTAVE: u64 = 16;

/// Latencies are counted up to 2³² µs, a little over an hour.
const BUCKETS: usize = 29 * 16;

/// Counters of every route.
pub(crate) struct Stats {
    routes: Vec<Counters>,
}

struct Counters {
    statuses: Vec<AtomicU64>,
    latencies: Vec<AtomicU64>,
    latency_max_us: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    broken: AtomicU64,
}

/// One route's line in `/_gateway/stats`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RouteStats {
    route: &'static str,
    backend: Option<&'static str>,
    requests: u64,
    /// How many answers had which status.
    #[schema(value_type = BTreeMap<String, u64>)]
    statuses: BTreeMap<usize, u64>,
    /// Body bytes from clients.
    bytes_received: u64,
    /// Body bytes to clients.
    bytes_sent: u64,
    /// Answers that ended before they were complete.
    broken: u64,
    /// From the request's head to the answer's head; absent without requests.
    latency_ms: Option<Percentiles>,
}

/// Latencies in milliseconds.
#[derive(Debug, Serialize, ToSchema)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Stats {
    pub(crate) fn new() -> Stats {
        Stats { routes: (0..ROUTES).map(|_| Counters::new()).collect() }
    }

    /// Counts a request whose answer's head is known.
    pub(crate) fn answered(&self, route: &Route, status: StatusCode, latency: Duration) {
        let counters = &self.routes[route.index];
        let status = usize::from(status.as_u16()).min(STATUSES - 1);
        add(&counters.statuses[status], 1);
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        add(&counters.latencies[bucket(us)], 1);
        counters.latency_max_us.fetch_max(us, Ordering::Relaxed);
    }

    /// Counts the bodies of a request that is over.
    pub(crate) fn finished(&self, route: &Route, received: u64, sent: u64, is_complete: bool) {
        let counters = &self.routes[route.index];
        add(&counters.received, received);
        add(&counters.sent, sent);
        add(&counters.broken, u64::from(!is_complete));
    }

    /// Reads everything, in the order of the table.
    pub(crate) fn read(&self) -> Vec<RouteStats> {
        self.routes.iter().zip(&TABLE).map(|(counters, route)| counters.read(route)).collect()
    }
}

impl Counters {
    fn new() -> Counters {
        let zeros = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        Counters {
            statuses: zeros(STATUSES),
            latencies: zeros(BUCKETS),
            latency_max_us: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            broken: AtomicU64::new(0),
        }
    }

    fn read(&self, route: &Route) -> RouteStats {
        let statuses: BTreeMap<usize, u64> =
            self.statuses.iter().map(get).enumerate().filter(|(_, count)| *count > 0).collect();
        RouteStats {
            route: route.pattern,
            backend: match route.target {
                Target::Backend(backend) => Some(backend.name()),
                Target::Home
                | Target::Status
                | Target::Services
                | Target::Stats
                | Target::Stream
                | Target::Login
                | Target::Refresh
                | Target::Logout
                | Target::Nowhere => None,
            },
            requests: statuses.values().sum(),
            statuses,
            bytes_received: get(&self.received),
            bytes_sent: get(&self.sent),
            broken: get(&self.broken),
            latency_ms: self.percentiles(),
        }
    }

    fn percentiles(&self) -> Option<Percentiles> {
        let counts: Vec<u64> = self.latencies.iter().map(get).collect();
        let total: u64 = counts.iter().sum();
        let max_us = get(&self.latency_max_us);
        let at = |per_mille: u64| {
            let rank = (total * per_mille).div_ceil(1_000).max(1);
            let mut seen = 0;
            let found = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            milliseconds(found.map_or(max_us, |index| upper_us(index).min(max_us)))
        };
        (total > 0).then(|| Percentiles {
            p50: at(500),
            p90: at(900),
            p99: at(990),
            max: milliseconds(max_us),
        })
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn milliseconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64() * 1e3
}

/// Finds the bucket of a latency: exact below 16 µs, then sixteen buckets per doubling.
fn bucket(us: u64) -> usize {
    let us = us.min(u64::from(u32::MAX));
    let octave = us.checked_ilog2().map_or(0, |log| log.saturating_sub(3));
    let within = if octave == 0 { us } else { (us >> (octave - 1)) & (BUCKETS_PER_OCTAVE - 1) };
    usize::try_from(u64::from(octave) * BUCKETS_PER_OCTAVE + within)
        .unwrap_or(BUCKETS - 1)
        .min(BUCKETS - 1)
}

/// Returns the highest latency that a bucket counts.
fn upper_us(index: usize) -> u64 {
    let index = u64::try_from(index).unwrap_or(u64::MAX);
    let (octave, within) = (index / BUCKETS_PER_OCTAVE, index % BUCKETS_PER_OCTAVE);
    match octave.checked_sub(1) {
        None => within,
        Some(shift) => ((BUCKETS_PER_OCTAVE + within + 1) << shift) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_falls_into_the_bucket_that_covers_it() {
        let mut samples: Vec<u64> = (0..5_000).collect();
        samples.extend((12..32).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]));
        for us in samples {
            let index = bucket(us);
            assert!(upper_us(index) >= us, "{us}");
            assert!(index == 0 || upper_us(index - 1) < us, "{us}");
            assert!(upper_us(index) <= us + us / 16, "{us}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn requests_are_counted_by_route_and_status() {
        let stats = Stats::new();
        let route = Route::of("/api/v1/overview");
        for us in 1..=100 {
            stats.answered(route, StatusCode::OK, Duration::from_micros(us * 100));
        }
        stats.answered(route, StatusCode::NOT_FOUND, Duration::from_micros(100));
        stats.finished(route, 3, 50, false);
        let line = &stats.read()[route.index];
        assert_eq!(line.statuses, BTreeMap::from([(200, 100), (404, 1)]));
        assert_eq!(
            (line.requests, line.bytes_received, line.bytes_sent, line.broken),
            (101, 3, 50, 1)
        );
        let latency = line.latency_ms.as_ref().unwrap();
        assert!((5.0..5.4).contains(&latency.p50), "{latency:?}");
        assert!((9.9..=10.0).contains(&latency.p99), "{latency:?}");
        assert!((10.0 - latency.max).abs() < 1e-9);
        assert!(stats.read()[0].latency_ms.is_none());
    }
}
