//! How long everything took, read from the histograms of the services. Pure.
//!
//! The venue sends at its rate whatever the answers, so that nothing waits with being sent for what
//! was sent before. Percentiles are found by interpolation inside a bucket, whose bounds lie half of
//! the lower one apart.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What is left out at the beginning: connections, books and caches are made in it.
pub const WARM_UP: Duration = Duration::from_secs(30);

/// The kinds that the generated market consists of; the others are a few events a second.
const KINDS: [&str; 4] = ["trade", "agg_trade", "book", "bbo"];

/// What services say of themselves, in Prometheus' text form; `None` while one does not answer.
#[derive(Debug, Clone, Default)]
pub struct Scrape {
    /// The collector's.
    pub collector: Option<String>,
    /// The storage's.
    pub storage: Option<String>,
}

/// Whose histogram it is.
#[derive(Debug, Clone, Copy)]
enum Owner {
    Collector,
    Storage,
}

/// The ways of an event, in the order in which it takes them.
const WAYS: [(&str, Owner, &str); 5] = [
    (
        "stamped by the venue → received",
        Owner::Collector,
        "marketprism_collector_venue_lag_seconds",
    ),
    ("received → live lane", Owner::Collector, "marketprism_collector_live_delay_seconds"),
    ("received → acknowledged", Owner::Collector, "marketprism_collector_durable_delay_seconds"),
    ("received → hot store", Owner::Storage, "marketprism_storage_hot_delay_seconds"),
    ("received → can be queried", Owner::Storage, "marketprism_storage_store_delay_seconds"),
];

/// How long one way took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    /// From where to where.
    pub way: &'static str,
    /// Of which kind; empty where all kinds are counted together.
    pub kind: String,
    /// How many were observed.
    pub count: u64,
    /// Half of them took no longer, in seconds.
    pub p50: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// 999 of 1,000 took no longer; infinite beyond the last bucket.
    pub p999: f64,
    /// Whether all since the service's last start is in it: it was restarted after the warm-up.
    pub since_restart: bool,
}

/// The latencies between two looks.
#[must_use]
pub fn latencies(before: &Scrape, after: &Scrape) -> Vec<Latency> {
    let mut found = Vec::new();
    for (way, owner, metric) in WAYS {
        let of = |scrape: &Scrape| {
            let text = match owner {
                Owner::Collector => &scrape.collector,
                Owner::Storage => &scrape.storage,
            };
            text.as_deref().map(|text| histograms(text, metric)).unwrap_or_default()
        };
        let (before, after) = (of(before), of(after));
        for (kind, histogram) in after {
            let (grown, since_restart) = match before.get(&kind) {
                Some(before) => histogram.since(before).map_or((histogram, true), |h| (h, false)),
                None => (histogram, false),
            };
            let shown = kind.is_empty() || KINDS.contains(&&*kind);
            if let Some(count) = grown.count().filter(|count| shown && *count > 0) {
                let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| grown.quantile(share));
                found.push(Latency { way, kind, count, p50, p99, p999, since_restart });
            }
        }
    }
    found
}

/// The upper bounds of a histogram's buckets, and how many observations are not above each.
#[derive(Debug, Clone, Default, PartialEq)]
struct Histogram(Vec<(f64, u64)>);

impl Histogram {
    fn count(&self) -> Option<u64> {
        self.0.last().map(|(_, count)| *count)
    }

    /// What was observed since; `None` if the counters began anew in between.
    fn since(&self, before: &Self) -> Option<Self> {
        if self.0.len() != before.0.len() {
            return None;
        }
        let pairs = self.0.iter().zip(&before.0);
        let grown = pairs.map(|((bound, after), (_, before))| {
            after.checked_sub(*before).map(|count| (*bound, count))
        });
        grown.collect::<Option<Vec<_>>>().map(Self)
    }

    /// The value that a share of all does not exceed.
    fn quantile(&self, share: f64) -> f64 {
        let rank = self.count().unwrap_or(0) as f64 * share;
        let (mut lower, mut below) = (0.0, 0);
        for (bound, count) in &self.0 {
            if *count as f64 >= rank && *count > below {
                // Beyond the last bound there is nothing to interpolate to.
                if bound.is_infinite() {
                    return f64::INFINITY;
                }
                let within = (rank - below as f64) / (count - below) as f64;
                return lower + (bound - lower) * within;
            }
            (lower, below) = (*bound, *count);
        }
        f64::INFINITY
    }
}

/// The histograms of a metric, by kind.
fn histograms(text: &str, metric: &str) -> BTreeMap<String, Histogram> {
    let mut found: BTreeMap<String, Histogram> = BTreeMap::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(metric).and_then(|rest| rest.strip_prefix("_bucket{"))
        else {
            continue;
        };
        let Some((labels, count)) = rest.split_once("} ") else { continue };
        let bound = label(labels, "le").and_then(|bound| match bound {
            "+Inf" => Some(f64::INFINITY),
            bound => bound.parse().ok(),
        });
        // An exemplar may follow the count.
        let count = count.split(' ').next().and_then(|count| count.parse().ok());
        let (Some(bound), Some(count)) = (bound, count) else { continue };
        let kind = label(labels, "kind").unwrap_or_default().to_owned();
        found.entry(kind).or_default().0.push((bound, count));
    }
    found
}

/// The value of a label; ours hold neither quotes nor commas.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(',').find_map(|label| {
        let value = label.strip_prefix(name)?.strip_prefix("=\"")?;
        value.strip_suffix('"')
    })
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { way, kind, count, p50, p99, p999, since_restart } = self;
        let [p50, p99, p999] = [p50, p99, p999].map(|seconds| shown(*seconds));
        write!(f, "{way:<32} {kind:<9} p50 {p50}, p99 {p99}, p99.9 {p999}, of {count}")?;
        f.write_str(if *since_restart { " since its restart" } else { "" })
    }
}

fn shown(seconds: f64) -> String {
    match seconds {
        seconds if seconds.is_infinite() => "beyond all buckets".to_owned(),
        seconds if seconds >= 1.0 => format!("{seconds:.2} s"),
        seconds => format!("{:.2} ms", seconds * 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    const METRIC: &str = "marketprism_collector_durable_delay_seconds";

    /// The exposition of a histogram of a kind, by bound and cumulated count.
    fn text(kind: &str, buckets: &[(&str, u64)]) -> String {
        let mut text = format!("# TYPE {METRIC} histogram\n{METRIC}_sum{{kind=\"{kind}\"}} 9.0\n");
        for (bound, count) in buckets {
            writeln!(text, "{METRIC}_bucket{{le=\"{bound}\",kind=\"{kind}\"}} {count}").unwrap();
        }
        text
    }

    fn scrape(text: String) -> Scrape {
        Scrape { collector: Some(text), storage: None }
    }

    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-9, "{found} is not {wanted}");
    }

    #[test]
    fn percentiles_are_interpolated_inside_their_bucket() {
        let after =
            text("trade", &[("0.001", 0), ("0.002", 500), ("0.003", 1_000), ("+Inf", 1_000)]);
        let found = latencies(&Scrape::default(), &scrape(after));
        let [latency] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            (latency.way, &*latency.kind, latency.count),
            ("received → acknowledged", "trade", 1_000)
        );
        close(latency.p50, 0.002);
        close(latency.p99, 0.002_98);
        close(latency.p999, 0.002_998);
        assert!(!latency.since_restart);
    }

    #[test]
    fn what_came_before_the_warm_up_was_over_is_left_out() {
        // At first everything was slow.
        let before = text("book", &[("0.001", 0), ("1.0", 100), ("+Inf", 100)]);
        let after = text("book", &[("0.001", 300), ("1.0", 400), ("+Inf", 400)]);
        let found = latencies(&scrape(before), &scrape(after.clone()));
        assert_eq!(found[0].count, 300);
        close(found[0].p999, 0.000_999);
        let all = latencies(&Scrape::default(), &scrape(after));
        assert!(all[0].p99 > 0.9, "{all:?}");
    }

    #[test]
    fn a_service_that_was_restarted_counts_from_there() {
        let before = text("bbo", &[("0.001", 900), ("+Inf", 900)]);
        let after = text("bbo", &[("0.001", 10), ("+Inf", 10)]);
        let found = latencies(&scrape(before), &scrape(after));
        assert_eq!((found[0].count, found[0].since_restart), (10, true));
    }

    #[test]
    fn what_lies_beyond_all_buckets_is_said_to() {
        let after = text("trade", &[("0.001", 98), ("+Inf", 100)]);
        let found = latencies(&Scrape::default(), &scrape(after));
        assert!(found[0].p50 < 0.001 && found[0].p99.is_infinite());
        assert!(found[0].to_string().contains("p99 beyond all buckets"), "{}", found[0]);
    }

    #[test]
    fn kinds_of_a_few_events_and_services_that_do_not_answer_are_left_out() {
        let after = text("ticker", &[("0.001", 9), ("+Inf", 9)]) + &text("trade", &[("+Inf", 0)]);
        assert_eq!(latencies(&Scrape::default(), &scrape(after)), []);
        assert_eq!(latencies(&Scrape::default(), &Scrape::default()), []);
    }

    #[test]
    fn a_metric_without_kinds_is_one_histogram() {
        let name = "marketprism_storage_hot_delay_seconds";
        let text =
            format!("{name}_bucket{{le=\"0.5\"}} 4 # {{}} 0.3\n{name}_bucket{{le=\"+Inf\"}} 4\n");
        let found = histograms(&text, name);
        assert_eq!(found[""], Histogram(vec![(0.5, 4), (f64::INFINITY, 4)]));
    }
}
