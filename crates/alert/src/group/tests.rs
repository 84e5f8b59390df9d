//! Ring 1: scripts over the grouping of alerts.

use std::collections::BTreeMap;
use std::time::Duration;

use expect_test::{Expect, expect};
use units::UnixNanos;

use super::{Active, Groups, Outcome, Pace, Route, fingerprint};
use crate::rule::Labels;

fn at(seconds: u64) -> UnixNanos {
    UnixNanos::new(0).plus(Duration::from_secs(seconds))
}

fn pace() -> Pace {
    Pace {
        group_by: vec!["severity".into()],
        wait: Duration::from_secs(30),
        interval: Duration::from_secs(300),
        repeat: Duration::from_hours(4),
    }
}

fn to(receiver: &str, wants_resolved: bool) -> Route {
    let receivers = BTreeMap::from([(receiver.to_owned(), wants_resolved)]);
    Route { matchers: Vec::new(), receivers }
}

/// An alert by one letter: a capital is critical. `-x` is resolved, and `?x` given up.
fn active(word: &str) -> Active {
    let name = word.trim_start_matches(['-', '?']);
    let severity = if name.starts_with(char::is_uppercase) { "critical" } else { "warning" };
    Active {
        labels: Labels::from([
            ("alertname".into(), name.into()),
            ("severity".into(), severity.into()),
        ]),
        annotations: Labels::new(),
        starts_at: at(0),
        ends_at: word.starts_with(['-', '?']).then(|| at(1)),
        given_up: word.starts_with('?'),
        updated_at: at(0),
        generator_url: String::new(),
    }
}

/// Tells what one look brought, as `7s hook: a -b`.
fn drain(groups: &mut Groups, second: u64, fails: bool, log: &mut Vec<String>) {
    while let Some(due) = groups.next_due(at(second)) {
        let words: Vec<String> = due
            .alerts
            .iter()
            .map(|alert| {
                let sign = match (alert.ends_at, alert.given_up) {
                    (None, _) => "",
                    (Some(_), false) => "-",
                    (Some(_), true) => "?",
                };
                format!("{sign}{}", alert.labels["alertname"])
            })
            .collect();
        let outcome = if fails { Outcome::Failed } else { Outcome::Sent };
        log.push(format!("{second}s {}: {}", due.receiver, words.join(" ")));
        groups.handle_outcome(&due.receiver, &due.labels, outcome, at(second));
    }
}

/// Runs `script`: looks separated by `|`, each a second, then alerts. `!` lets messages fail, and
/// an alert in parentheses is suppressed.
fn check(groups: &mut Groups, script: &str, expected: &Expect) {
    let mut log = Vec::new();
    for step in script.split('|') {
        let mut words = step.split_whitespace();
        let second: u64 = words.next().unwrap().parse().unwrap();
        let words: Vec<&str> = words.collect();
        let alerts: Vec<(Active, bool)> = words
            .iter()
            .filter(|word| **word != "!")
            .map(|word| (active(word.trim_matches(['(', ')'])), word.starts_with('(')))
            .collect();
        groups.handle_alerts(alerts.iter().map(|(alert, mute)| (alert, *mute)), at(second));
        drain(groups, second, words.contains(&"!"), &mut log);
    }
    expected.assert_eq(&log.join("\n"));
}

#[test]
fn a_storm_is_one_message_per_group() {
    let mut groups = Groups::new(pace(), vec![to("hook", true)]);
    check(
        &mut groups,
        "0 a | 1 a b | 29 a b c D | 30 a b c D | 60 a b c D | 100 a b c D e | 330 a b c D e",
        &expect![[r#"
            30s hook: a b c
            60s hook: D
            330s hook: a b c e"#]],
    );
}

#[test]
fn what_was_told_is_told_to_be_resolved_once_and_what_was_not_is_not() {
    let mut groups = Groups::new(pace(), vec![to("hook", true)]);
    check(
        &mut groups,
        "0 a b | 10 a -b | 30 a -b | 40 -a -b | 330 -a -b | 700 -a -b",
        &expect![[r#"
            30s hook: a
            330s hook: -a"#]],
    );
    assert_eq!(groups.iter().count(), 0);
}

#[test]
fn a_receiver_that_wants_no_resolutions_gets_none() {
    let mut groups = Groups::new(pace(), vec![to("hook", false)]);
    check(&mut groups, "0 a | 30 a | 400 -a | 800 -a", &expect!["30s hook: a"]);
}

#[test]
fn an_alert_that_is_not_given_any_more_is_resolved() {
    let mut groups = Groups::new(pace(), vec![to("hook", true)]);
    check(
        &mut groups,
        "0 a | 30 a | 40 | 330",
        &expect![[r#"
            30s hook: a
            330s hook: -a"#]],
    );
}

#[test]
fn an_alert_that_is_given_up_is_told_so_once_and_never_as_resolved() {
    let mut groups = Groups::new(pace(), vec![to("hook", true)]);
    check(
        &mut groups,
        "0 a b | 30 a b | 40 a ?b ?c | 330 a ?b ?c | 700 a ?b ?c | 800 a",
        &expect![[r#"
            30s hook: a b
            330s hook: a ?b"#]],
    );
}

#[test]
fn a_receiver_that_wants_no_resolutions_is_told_what_is_given_up() {
    let mut groups = Groups::new(pace(), vec![to("hook", false)]);
    check(
        &mut groups,
        "0 a | 30 a | 400 ?a | 800 ?a | 1200",
        &expect![[r#"
            30s hook: a
            800s hook: ?a"#]],
    );
    assert_eq!(groups.iter().count(), 0);
}

#[test]
fn what_goes_on_firing_is_told_again() {
    let mut groups = Groups::new(pace(), vec![to("hook", true)]);
    check(
        &mut groups,
        "0 a | 30 a | 14429 a | 14430 a | 14460 a | 14500 a",
        &expect![[r#"
            30s hook: a
            14460s hook: a"#]],
    );
}

#[test]
fn a_suppressed_alert_is_told_when_it_is_not_suppressed_any_more() {
    let mut groups = Groups::new(pace(), vec![to("hook", true)]);
    check(
        &mut groups,
        "0 (a) | 30 (a) b | 60 (a) b | 370 a b | 400 a b",
        &expect![[r#"
            60s hook: b
            400s hook: a b"#]],
    );
}

#[test]
fn what_failed_is_tried_again_with_what_is_so_then() {
    let mut groups = Groups::new(pace(), vec![to("hook", true)]);
    check(
        &mut groups,
        "0 a | 30 a ! | 34 a b | 35 a b ! | 44 a b ! | 45 a b",
        &expect![[r#"
            30s hook: a
            35s hook: a b
            45s hook: a b"#]],
    );
}

#[test]
fn the_first_route_that_fits_decides() {
    let mut pager = to("pager", true);
    pager.matchers = vec!["severity=critical".parse().unwrap()];
    let mut groups = Groups::new(pace(), vec![pager, to("hook", true)]);
    check(
        &mut groups,
        "0 a B | 30 a B",
        &expect![[r#"
            30s hook: a
            30s pager: B"#]],
    );
}

#[test]
fn a_restart_tells_nobody_twice_and_forgets_no_resolution() {
    let mut before = Groups::new(pace(), vec![to("hook", true)]);
    check(&mut before, "0 a b | 30 a b", &expect!["30s hook: a b"]);
    let mut after = Groups::new(pace(), vec![to("hook", true)]);
    after.restore(before.save(), at(60));
    check(&mut after, "60 a -b | 89 a -b | 90 a -b | 500 a", &expect!["90s hook: a -b"]);
}

#[test]
fn one_message_at_a_time_is_under_way_to_a_receiver() {
    let mut groups = Groups::new(pace(), vec![to("hook", true)]);
    let alerts = [active("a"), active("B")];
    groups.handle_alerts(alerts.iter().map(|alert| (alert, false)), at(0));
    assert_eq!(groups.poll_timeout(), Some(at(30)));
    let first = groups.next_due(at(30)).unwrap();
    assert_eq!(groups.next_due(at(30)), None);
    groups.handle_outcome("hook", &first.labels, Outcome::Refused, at(31));
    assert_ne!(groups.next_due(at(31)).unwrap().labels, first.labels);
    assert_eq!(groups.next_due(at(331)), None);
}

#[test]
fn groups_beyond_the_limit_are_counted() {
    let mut groups =
        Groups::new(Pace { group_by: vec!["alertname".into()], ..pace() }, vec![to("hook", true)]);
    let alerts: Vec<Active> =
        (0..super::GROUPS_MAX + 2).map(|number| active(&format!("a{number}"))).collect();
    groups.handle_alerts(alerts.iter().map(|alert| (alert, false)), at(0));
    assert_eq!((groups.iter().count(), groups.refused()), (super::GROUPS_MAX, 2));
}

/// Computed by hand from the definition, so that other tools know our alerts by the same number.
#[test]
fn the_fingerprint_is_fnv_1a_with_separators() {
    assert_eq!(fingerprint(&Labels::new()), 0xcbf2_9ce4_8422_2325);
    let one = Labels::from([("a".into(), "b".into())]);
    let by_hand =
        [b'a', 255, b'b', 255].into_iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    assert_eq!(fingerprint(&one), by_hand);
}
