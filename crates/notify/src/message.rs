//! What is told: the alerts of one group, and their text for people.

use std::collections::BTreeSet;

use alert::{Active, Labels};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use units::UnixNanos;

/// Alerts that a text lists; who has more of them looks at the overview.
const LISTED_MAX: usize = 20;

/// What is told: the alerts of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The channel's name.
    pub receiver: String,
    /// The labels that make the group.
    pub group_labels: Labels,
    /// What fires, what is resolved, and what is given up.
    pub alerts: Vec<Active>,
    /// Where an operator looks further.
    pub external_url: Option<String>,
}

impl Message {
    /// A message that says that it is only a test.
    #[must_use]
    pub fn test(receiver: &str, external_url: Option<String>, now: UnixNanos) -> Self {
        let labels = [("alertname", "test"), ("severity", "info")];
        let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let summary = format!("this is a test of the channel {receiver}; nothing is wrong");
        let alert = Active {
            labels: labels.into_iter().map(pair).collect(),
            annotations: Labels::from([("summary".to_owned(), summary)]),
            starts_at: now,
            ends_at: None,
            given_up: false,
            updated_at: now,
            generator_url: String::new(),
        };
        let group_labels = Labels::from([("alertname".to_owned(), "test".to_owned())]);
        Self { receiver: receiver.to_owned(), group_labels, alerts: vec![alert], external_url }
    }

    /// Alerts that fire.
    pub(crate) fn firing(&self) -> impl Iterator<Item = &Active> {
        self.alerts.iter().filter(|alert| alert.ends_at.is_none())
    }

    /// Alerts that nothing is known of any more.
    pub(crate) fn given_up(&self) -> impl Iterator<Item = &Active> {
        self.alerts.iter().filter(|alert| alert.ends_at.is_some() && alert.given_up)
    }

    /// Alerts that are resolved.
    pub(crate) fn resolved(&self) -> impl Iterator<Item = &Active> {
        self.alerts.iter().filter(|alert| alert.is_resolved())
    }

    /// `resolved` if all are; what is given up is not.
    pub(crate) fn status(&self) -> &'static str {
        if self.alerts.iter().all(Active::is_resolved) { "resolved" } else { "firing" }
    }

    /// One line: how many fire, else what is given up, else that all is over; and what.
    pub(crate) fn title(&self) -> String {
        let names: BTreeSet<&str> = match (self.firing().count(), self.given_up().count()) {
            (0, 0) => self.resolved().map(name).collect(),
            (0, _) => self.given_up().map(name).collect(),
            (_, _) => self.firing().map(name).collect(),
        };
        let names: Vec<&str> = names.into_iter().collect();
        let what = match names.as_slice() {
            [first, second, third, rest @ ..] if !rest.is_empty() => {
                format!("{first}, {second}, {third} and {} more", rest.len())
            }
            few => few.join(", "),
        };
        match (self.firing().count(), self.given_up().count()) {
            (0, 0) => format!("[RESOLVED] {what}"),
            (0, count) => format!("[GIVEN UP:{count}] {what}"),
            (count, _) => format!("[FIRING:{count}] {what}"),
        }
    }

    /// Title and alerts, a line each, at most so many bytes.
    pub(crate) fn text(&self, bytes_max: usize) -> String {
        let mut lines = vec![self.title()];
        let over = self.given_up().chain(self.resolved());
        let alerts: Vec<&Active> = self.firing().chain(over).collect();
        lines.extend(alerts.iter().take(LISTED_MAX).map(|alert| line(alert)));
        if alerts.len() > LISTED_MAX {
            lines.push(format!("and {} more", alerts.len() - LISTED_MAX));
        }
        lines.extend(self.external_url.clone());
        cut(lines.join("\n"), bytes_max)
    }
}

fn name(alert: &Active) -> &str {
    alert.labels.get("alertname").map_or("alert", String::as_str)
}

fn line(alert: &Active) -> String {
    let severity = alert.labels.get("severity").map_or("", String::as_str);
    let (state, since) = match alert.ends_at {
        None => (severity, format!("since {}", clock(alert.starts_at))),
        Some(end) if alert.given_up => {
            ("given up", format!("{} to {}", clock(alert.starts_at), clock(end)))
        }
        Some(end) => ("resolved", format!("{} to {}", clock(alert.starts_at), clock(end))),
    };
    let said = match alert.annotations.get("summary") {
        Some(summary) => summary.clone(),
        None => {
            let labels = alert.labels.iter().filter(|(name, _)| *name != "alertname");
            labels.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        }
    };
    format!("- {} ({state}): {said} ({since})", name(alert))
}

fn clock(time: UnixNanos) -> String {
    Timestamp::from_nanosecond(i128::from(time.as_i64()))
        .expect("64 bits of nanoseconds are within the calendar")
        .to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%d %H:%M:%S UTC")
        .to_string()
}

/// At most so many bytes, cut between two characters and marked.
fn cut(mut text: String, bytes_max: usize) -> String {
    const MARK: &str = "…";
    if text.len() > bytes_max {
        let end = text.floor_char_boundary(bytes_max.saturating_sub(MARK.len()));
        text.truncate(end);
        text.push_str(MARK);
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use expect_test::expect;

    const MINUTE: i64 = 60_000_000_000;

    pub(crate) fn alert(name: &str, ends_at: Option<i64>) -> Active {
        Active {
            labels: Labels::from([
                ("alertname".to_owned(), name.to_owned()),
                ("severity".to_owned(), "critical".to_owned()),
            ]),
            annotations: Labels::from([("summary".to_owned(), format!("{name} <is> & bad"))]),
            starts_at: UnixNanos::new(0),
            ends_at: ends_at.map(UnixNanos::new),
            given_up: false,
            updated_at: UnixNanos::new(0),
            generator_url: String::new(),
        }
    }

    pub(crate) fn message(alerts: Vec<Active>) -> Message {
        Message {
            receiver: "hook".to_owned(),
            group_labels: Labels::from([("severity".to_owned(), "critical".to_owned())]),
            alerts,
            external_url: Some("http://mon:8083".to_owned()),
        }
    }

    #[test]
    fn a_text_tells_what_fires_and_what_is_over() {
        let text = message(vec![alert("down", Some(MINUTE)), alert("full", None)]).text(4_096);
        expect![[r#"
            [FIRING:1] full
            - full (critical): full <is> & bad (since 1970-01-01 00:00:00 UTC)
            - down (resolved): down <is> & bad (1970-01-01 00:00:00 UTC to 1970-01-01 00:01:00 UTC)
            http://mon:8083"#]]
        .assert_eq(&text);
        assert_eq!(message(vec![alert("down", Some(1))]).title(), "[RESOLVED] down");
    }

    #[test]
    fn what_is_given_up_is_not_called_resolved() {
        let lost = || Active { given_up: true, ..alert("stale", Some(MINUTE)) };
        let text = message(vec![alert("down", Some(MINUTE)), lost()]).text(4_096);
        expect![[r#"
            [GIVEN UP:1] stale
            - stale (given up): stale <is> & bad (1970-01-01 00:00:00 UTC to 1970-01-01 00:01:00 UTC)
            - down (resolved): down <is> & bad (1970-01-01 00:00:00 UTC to 1970-01-01 00:01:00 UTC)
            http://mon:8083"#]]
        .assert_eq(&text);
        assert_eq!(message(vec![lost()]).status(), "firing");
        assert_eq!(message(vec![lost(), alert("full", None)]).title(), "[FIRING:1] full");
    }

    #[test]
    fn a_storm_stays_a_message() {
        let many: Vec<Active> = (0..100).map(|number| alert(&format!("a{number}"), None)).collect();
        let text = message(many.clone()).text(100_000);
        assert!(text.starts_with("[FIRING:100] a0, a1, a10 and 97 more\n"), "{text}");
        assert_eq!(text.lines().count(), 1 + LISTED_MAX + 2);
        assert!(text.contains("\nand 80 more\n"), "{text}");
        let short = message(many).text(1_000);
        assert!(short.len() <= 1_000 && short.ends_with('…'), "{short}");
    }
}
