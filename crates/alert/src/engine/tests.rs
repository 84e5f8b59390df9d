//! Ring 1: scripts and properties over the alert machine.

use std::collections::BTreeSet;
use std::time::Duration;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use units::UnixNanos;

use super::{Change, Data, Engine, State};
use crate::rule::{Comparison, Condition, Labels, Quantity, Rule, Sample, Severity};

const FORGET_AFTER: Duration = Duration::from_secs(3_600);

fn at(seconds: u64) -> UnixNanos {
    UnixNanos::new(0).plus(Duration::from_secs(seconds))
}

fn rule(quantity: Quantity, comparison: Comparison, threshold: f64, hold: u64) -> Rule {
    Rule {
        name: "r".into(),
        condition: Condition {
            metric: "m".into(),
            matching: Labels::new(),
            quantity,
            comparison,
            threshold,
            resolve: None,
        },
        hold: Duration::from_secs(hold),
        keep: Duration::ZERO,
        severity: Severity::Warning,
        labels: Labels::new(),
        annotations: Labels::new(),
        summary: "{s} is at {value}".parse().unwrap(),
    }
}

fn above_5_for_10s() -> Rule {
    rule(Quantity::Value, Comparison::Above, 5.0, 10)
}

/// Runs `script`: evaluations separated by `|`, each a second and then `series=value` pairs.
fn check(rules: Vec<Rule>, script: &str, expected: Expect) {
    let mut engine = Engine::new(rules, FORGET_AFTER);
    let mut log = Vec::new();
    for step in script.split('|') {
        let mut words = step.split_whitespace();
        let second: u64 = words.next().unwrap().parse().unwrap();
        let samples: Vec<Sample> = words
            .map(|word| {
                let (series, value) = word.split_once('=').unwrap();
                Sample {
                    metric: "m".into(),
                    labels: Labels::from([("s".into(), series.into())]),
                    value: value.parse().unwrap(),
                }
            })
            .collect();
        engine.handle_samples(&samples, BTreeSet::new(), at(second));
        while let Some(transition) = engine.next_transition() {
            log.push(format!("{second}s {:?}: {}", transition.change, transition.alert.summary()));
        }
    }
    for alert in engine.alerts() {
        let state = match alert.state {
            State::Inactive => "inactive",
            State::Pending { .. } => "pending",
            State::Firing { .. } => "firing",
            State::Resolved { .. } => "resolved",
        };
        let data = match alert.data {
            Data::Present => String::new(),
            Data::AbsentSince(since) => {
                format!(", no data since {}s", since.as_i64() / 1_000_000_000)
            }
        };
        log.push(format!("at the end {} is {state}{data}", alert.labels["s"]));
    }
    expected.assert_eq(&log.join("\n"));
}

#[test]
fn an_alert_fires_after_its_hold_and_resolves() {
    check(
        vec![above_5_for_10s()],
        "0 a=6 | 5 a=7 | 10 a=8 | 15 a=9 | 20 a=5",
        expect![[r#"
            0s Pending: a is at 6
            10s Fired: a is at 8
            20s Resolved: a is at 5
            at the end a is resolved"#]],
    );
}

#[test]
fn a_flapping_condition_restarts_the_clock() {
    check(
        vec![above_5_for_10s()],
        "0 a=6 | 9 a=1 | 10 a=6 | 19 a=6",
        expect![[r#"
            0s Pending: a is at 6
            9s Withdrawn: a is at 1
            10s Pending: a is at 6
            at the end a is pending"#]],
    );
}

#[test]
fn a_rule_without_a_hold_fires_at_once() {
    check(
        vec![rule(Quantity::Value, Comparison::Below, 1.0, 0)],
        "0 a=0",
        expect![[r#"
            0s Pending: a is at 0
            0s Fired: a is at 0
            at the end a is firing"#]],
    );
}

#[test]
fn label_sets_have_states_of_their_own_and_fire_once() {
    check(
        vec![above_5_for_10s()],
        "0 a=6 b=6 | 10 a=6 b=1 | 20 a=6 b=6 | 30 a=6 b=6",
        expect![[r#"
            0s Pending: a is at 6
            0s Pending: b is at 6
            10s Fired: a is at 6
            10s Withdrawn: b is at 1
            20s Pending: b is at 6
            30s Fired: b is at 6
            at the end a is firing
            at the end b is firing"#]],
    );
}

#[test]
fn missing_data_neither_fires_nor_resolves() {
    check(
        vec![above_5_for_10s()],
        "0 a=6 b=6 | 10 b=6 | 20 | 30 b=NaN",
        expect![[r#"
            0s Pending: a is at 6
            0s Pending: b is at 6
            10s Fired: b is at 6
            at the end a is pending, no data since 10s
            at the end b is firing, no data since 20s"#]],
    );
}

#[test]
fn a_firing_alert_without_data_for_long_is_lost_not_resolved() {
    check(
        vec![above_5_for_10s()],
        "0 a=6 | 10 a=6 | 20 | 3619 | 3620",
        expect![[r#"
            0s Pending: a is at 6
            10s Fired: a is at 6
            3620s Lost: a is at 6"#]],
    );
}

#[test]
fn an_increase_counts_steps_within_the_window_and_survives_a_reset() {
    let restarts = Quantity::Increase { window: Duration::from_secs(600) };
    check(
        vec![rule(restarts, Comparison::AtLeast, 3.0, 0)],
        "0 a=40 | 60 a=41 | 120 a=1 | 180 a=2 | 700 a=2",
        expect![[r#"
            180s Pending: a is at 3
            180s Fired: a is at 3
            700s Resolved: a is at 2
            at the end a is resolved"#]],
    );
}

#[test]
fn an_alert_resolves_at_a_threshold_of_its_own() {
    let mut flapping = above_5_for_10s();
    flapping.hold = Duration::ZERO;
    flapping.condition.resolve = Some(3.0);
    check(
        vec![flapping],
        "0 a=4 | 5 a=6 | 10 a=4 | 15 a=6 | 20 a=3 | 25 a=4",
        expect![[r#"
            5s Pending: a is at 6
            5s Fired: a is at 6
            20s Resolved: a is at 3
            at the end a is resolved"#]],
    );
}

#[test]
fn a_firing_alert_is_kept_until_the_condition_was_away_long_enough() {
    let mut kept = above_5_for_10s();
    kept.hold = Duration::ZERO;
    kept.keep = Duration::from_secs(10);
    check(
        vec![kept],
        "0 a=6 | 5 a=1 | 10 a=6 | 15 a=1 | 24 a=1 | 25 a=1",
        expect![[r#"
            0s Pending: a is at 6
            0s Fired: a is at 6
            25s Resolved: a is at 1
            at the end a is resolved"#]],
    );
}

/// What a scrape of one service brought: a value by a series' name.
fn scrape(values: &[(&str, f64)]) -> Vec<Sample> {
    let labels = Labels::from([("service".into(), "x".into())]);
    values
        .iter()
        .map(|&(metric, value)| Sample { metric: metric.into(), labels: labels.clone(), value })
        .collect()
}

/// The quantity of the one series after scrapes of a service at whole minutes.
fn after_scrapes(quantity: Quantity, scrapes: &[&[(&str, f64)]]) -> Option<f64> {
    let mut engine = Engine::new(vec![rule(quantity, Comparison::AtLeast, 0.0, 0)], FORGET_AFTER);
    for (minute, values) in (0..).zip(scrapes) {
        engine.handle_samples(&scrape(values), BTreeSet::from(["x".into()]), at(minute * 60));
        while engine.next_transition().is_some() {}
    }
    engine.alerts().next().map(|alert| alert.quantity)
}

#[test]
fn a_counter_that_appears_in_a_service_already_watched_counts_from_zero() {
    let hour = Quantity::Increase { window: Duration::from_hours(1) };
    assert_eq!(after_scrapes(hour, &[&[], &[("m", 1.0)]]), Some(1.0));
    assert_eq!(after_scrapes(hour, &[&[("m", 7.0)]]), Some(0.0));
    // Started anew in between, with the same count.
    assert_eq!(after_scrapes(hour, &[&[("m", 1.0)], &[], &[("m", 1.0)]]), Some(1.0));
}

#[test]
fn a_mean_is_of_what_was_seen_within_the_window() {
    let minutes = Quantity::Mean { window: Duration::from_secs(100) };
    let of = |sum, count| [("m_sum", sum), ("m_count", count)];
    let (one, two, three) = (of(10.0, 10.0), of(16.0, 12.0), of(16.0, 12.0));
    assert_eq!(after_scrapes(minutes, &[&one, &two]), Some(3.0));
    assert_eq!(after_scrapes(minutes, &[&one, &two, &three]), Some(3.0));
    // Nothing seen for longer than the window: the last mean stays, marked as absent.
    assert_eq!(after_scrapes(minutes, &[&one, &two, &three, &three]), Some(3.0));
    assert_eq!(after_scrapes(minutes, &[&one]), None);
}

#[test]
fn states_survive_a_restart_and_go_on() {
    let samples = [Sample { metric: "m".into(), labels: Labels::new(), value: 6.0 }];
    let mut before = Engine::new(vec![above_5_for_10s()], FORGET_AFTER);
    before.handle_samples(&samples, BTreeSet::new(), at(0));
    let saved = before.save();

    let mut after = Engine::new(vec![above_5_for_10s()], FORGET_AFTER);
    after.restore(saved.clone(), at(5));
    after.handle_samples(&samples, BTreeSet::new(), at(10));
    assert_eq!(after.next_transition().unwrap().change, Change::Fired);

    let mut other = above_5_for_10s();
    other.condition.threshold = 5.5;
    let mut changed = Engine::new(vec![other], FORGET_AFTER);
    changed.restore(saved, at(5));
    assert_eq!(changed.alerts().count(), 0);
}

#[test]
fn an_increase_goes_on_over_a_restart() {
    let rules = || {
        vec![rule(
            Quantity::Increase { window: Duration::from_hours(1) },
            Comparison::AtLeast,
            3.0,
            0,
        )]
    };
    let sample = |value| [Sample { metric: "m".into(), labels: Labels::new(), value }];
    let mut before = Engine::new(rules(), FORGET_AFTER);
    before.handle_samples(&sample(5.0), BTreeSet::new(), at(0));
    before.handle_samples(&sample(7.0), BTreeSet::new(), at(5));
    let mut after = Engine::new(rules(), FORGET_AFTER);
    after.restore(before.save(), at(60));
    after.handle_samples(&sample(8.0), BTreeSet::new(), at(65));
    assert_eq!(after.alerts().next().unwrap().quantity, 3.0);
}

#[test]
fn a_clock_set_back_does_not_fire_or_panic() {
    check(
        vec![above_5_for_10s()],
        "100 a=6 | 50 a=6 | 109 a=6 | 110 a=6",
        expect![[r#"
            100s Pending: a is at 6
            110s Fired: a is at 6
            at the end a is firing"#]],
    );
}

#[test]
fn a_rule_that_did_not_change_keeps_its_state_and_a_removed_one_is_lost() {
    let mut engine =
        Engine::new(vec![rule(Quantity::Value, Comparison::Above, 5.0, 0)], FORGET_AFTER);
    let samples = [Sample { metric: "m".into(), labels: Labels::new(), value: 6.0 }];
    engine.handle_samples(&samples, BTreeSet::new(), at(0));
    while engine.next_transition().is_some() {}

    engine.handle_rules(vec![rule(Quantity::Value, Comparison::Above, 5.0, 0)]);
    assert!(engine.next_transition().is_none());
    assert_eq!(engine.alerts().count(), 1);

    engine.handle_rules(vec![rule(Quantity::Value, Comparison::Above, 7.0, 0)]);
    assert_eq!(engine.next_transition().unwrap().change, Change::Lost);
    assert_eq!(engine.alerts().count(), 0);
}

#[test]
fn a_rule_that_never_saw_a_series_says_so() {
    let engine = Engine::new(vec![above_5_for_10s()], FORGET_AFTER);
    let status = engine.rules().next().unwrap();
    assert_eq!((status.present, status.absent), (0, 0));
}

#[test]
fn series_beyond_the_limit_are_counted_not_kept() {
    let mut engine = Engine::new(vec![above_5_for_10s()], FORGET_AFTER);
    let samples: Vec<Sample> = (0..super::SERIES_MAX + 3)
        .map(|number| Sample {
            metric: "m".into(),
            labels: Labels::from([("s".into(), number.to_string())]),
            value: 1.0,
        })
        .collect();
    engine.handle_samples(&samples, BTreeSet::new(), at(0));
    assert_eq!(engine.refused(), 3);
}

#[test]
fn a_bad_template_is_refused_with_its_place() {
    let refused = |text: &str| text.parse::<crate::Template>().unwrap_err().to_string();
    expect!["the brace at character 3 is never closed"].assert_eq(&refused("a {b"));
    expect!["the brace at character 2 closes nothing; write `}}` for a literal brace"]
        .assert_eq(&refused("a}b"));
    expect!["the braces at character 1 do not hold a label name"].assert_eq(&refused("{a b}"));
    let template: crate::Template = "{{x}} {s} {none}".parse().unwrap();
    assert_eq!(template.render(&Labels::from([("s".into(), "v".into())]), 1.0), "{x} v {none}");
}

proptest! {
    /// The reference: the condition has held at every evaluation since `since`, without a break.
    #[test]
    fn it_fires_exactly_when_the_condition_held_throughout(
        steps in prop::collection::vec((1_u64..20, any::<bool>()), 1..60),
        hold in 0_u64..60,
    ) {
        let mut engine = Engine::new(
            vec![rule(Quantity::Value, Comparison::Above, 0.5, hold)],
            FORGET_AFTER,
        );
        let mut now = 0;
        let mut held_since: Option<u64> = None;
        for (wait, holds) in steps {
            now += wait;
            held_since = if holds { held_since.or(Some(now)) } else { None };
            let value = if holds { 1.0 } else { 0.0 };
            engine.handle_samples(
                &[Sample { metric: "m".into(), labels: Labels::new(), value }],
                BTreeSet::new(),
                at(now),
            );
            let firing = engine
                .alerts()
                .any(|alert| matches!(alert.state, State::Firing { .. }));
            prop_assert_eq!(firing, held_since.is_some_and(|since| now - since >= hold));
        }
    }

    /// Absence alone never changes anything but the mark on the data.
    #[test]
    fn absence_never_changes_a_state(values in prop::collection::vec(any::<bool>(), 1..10), gap in 1_u64..1_000) {
        let mut engine = Engine::new(vec![above_5_for_10s()], FORGET_AFTER);
        let mut now = 0;
        for high in values {
            now += 6;
            let value = if high { 9.0 } else { 0.0 };
            engine.handle_samples(
                &[Sample { metric: "m".into(), labels: Labels::new(), value }],
                BTreeSet::new(),
                at(now),
            );
        }
        let before: Vec<State> = engine.alerts().map(|alert| alert.state).collect();
        while engine.next_transition().is_some() {}
        engine.handle_samples(&[], BTreeSet::new(), at(now + gap));
        let after: Vec<State> = engine.alerts().map(|alert| alert.state).collect();
        prop_assert_eq!(before, after);
        prop_assert!(engine.next_transition().is_none());
    }
}
