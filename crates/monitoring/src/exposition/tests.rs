//! Ring 1: the parser against texts, against what our own encoder writes, and against noise.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use proptest::prelude::*;

use super::{ParseError, Reason, parse};
use alert::{Labels, Sample};

fn all(text: &str) -> Result<Vec<Sample>, ParseError> {
    parse(text, |_| true)
}

fn refused(line: &str) -> Reason {
    all(&format!("ok 1\n{line}\n")).unwrap_err().reason
}

#[test]
fn both_formats_are_read() {
    let text = concat!(
        "# HELP a Help with \"quotes\" and {braces}\n",
        "# TYPE a counter\n",
        "a_total{x=\"1\",y=\"a\\\"b\\\\c\\nd\"} 3 1700000000.5 # {trace=\"z\"} 1 2\n",
        "\n",
        "b 1.5e3\r\n",
        "c { spaced = \"v\" , } -Inf\n",
        "d NaN 1700000000\n",
        "# EOF\n",
        "after the end anything goes",
    );
    let samples = all(text).unwrap();
    let names: Vec<&str> = samples.iter().map(|sample| sample.metric.as_str()).collect();
    assert_eq!(names, ["a_total", "b", "c", "d"]);
    assert_eq!(samples[0].labels["y"], "a\"b\\c\nd");
    assert_eq!(samples[1].value, 1_500.0);
    assert_eq!(samples[2].labels["spaced"], "v");
    assert_eq!(samples[2].value, f64::NEG_INFINITY);
    assert!(samples[3].value.is_nan());
}

#[test]
fn only_wanted_metrics_are_kept() {
    let samples = parse("a 1\nb 2\n", |name| name == "b").unwrap();
    assert_eq!(samples.len(), 1);
    assert_eq!(samples[0].value, 2.0);
}

#[test]
fn a_line_that_is_no_sample_is_refused_with_its_number() {
    assert_eq!(all("a 1\n\n9a 2\n").unwrap_err(), ParseError { line: 3, reason: Reason::Name });
    assert_eq!(refused("{a=\"b\"} 1"), Reason::Name);
    assert_eq!(refused("a{b=\"c\" 1"), Reason::Labels);
    assert_eq!(refused("a{b=c} 1"), Reason::Labels);
    assert_eq!(refused("a{b=\"c\"d=\"e\"} 1"), Reason::Labels);
    assert_eq!(refused("a{b=\"c\",b=\"c\"} 1"), Reason::DuplicateLabel);
    assert_eq!(refused("a"), Reason::Value);
    assert_eq!(refused("a one"), Reason::Value);
    assert_eq!(refused("a 1 now"), Reason::Timestamp);
    assert_eq!(refused("a 1 2 3"), Reason::Timestamp);
}

#[test]
fn a_series_has_a_limited_number_of_labels() {
    let labels: Vec<String> = (0..65).map(|number| format!("l{number}=\"\"")).collect();
    assert_eq!(refused(&format!("a{{{}}} 1", labels.join(","))), Reason::TooManyLabels);
}

proptest! {
    #[test]
    fn no_text_panics(text in "[ -~\n\t\"\\\\{}=,#]{0,80}") {
        drop(all(&text));
    }

    #[test]
    fn what_our_encoder_writes_is_read_back(
        series in prop::collection::btree_map("[a-z]{1,8}", (any::<u64>(), any::<f64>()), 0..8),
        value in "\\PC{0,20}",
        observations in prop::collection::vec(0.0..1e9_f64, 0..20),
    ) {
        let mut registry = Registry::with_prefix("marketprism");
        let counters = Family::<Vec<(String, String)>, Counter>::default();
        let gauges = Family::<Vec<(String, String)>, Gauge<f64, std::sync::atomic::AtomicU64>>::default();
        let histogram = Histogram::new([1.0, 1e3, 1e6]);
        registry.register("events", "Events", counters.clone());
        registry.register("age", "Age", gauges.clone());
        registry.register("wait", "Wait", histogram.clone());
        for (name, &(count, level)) in &series {
            let labels = vec![("name".to_owned(), name.clone()), ("text".to_owned(), value.clone())];
            counters.get_or_create(&labels).inc_by(count);
            gauges.get_or_create(&labels).set(level);
        }
        for &observation in &observations {
            histogram.observe(observation);
        }
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();

        let samples = all(&text).unwrap();
        for (name, &(count, level)) in &series {
            let labels = Labels::from([("name".into(), name.clone()), ("text".into(), value.clone())]);
            let find = |metric: &str| samples.iter().find(|s| s.metric == metric && s.labels == labels).map(|s| s.value);
            // A counter is a u64 there and a double here, as in Prometheus.
            let count: f64 = count.to_string().parse().unwrap();
            prop_assert_eq!(find("marketprism_events_total"), Some(count));
            let found = find("marketprism_age").unwrap();
            prop_assert!(found == level || (found.is_nan() && level.is_nan()));
        }
        let count = samples.iter().find(|s| s.metric == "marketprism_wait_count").unwrap().value;
        prop_assert_eq!(count.to_string(), observations.len().to_string());
    }
}
