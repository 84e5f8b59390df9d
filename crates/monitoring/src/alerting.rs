//! What becomes of alerts that fire: silenced, inhibited, grouped. Sans-IO.

use std::collections::BTreeMap;
use std::time::Duration;

use alert::{
    Active, Alert, Groups, Inhibition, Labels, Pace, Route, Silence, SilenceError, Silences, State,
    Suppression, fingerprint, inhibitor,
};
use units::UnixNanos;

/// Alerts of others at a time; Alertmanager's clients send a few.
const POSTED_MAX: usize = 10_000;

/// How long a resolved alert of others is kept, so that its receivers are told.
const RESOLVED_KEPT: Duration = Duration::from_mins(15);

/// How alerts are told, as the configuration says.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which alerts explain which.
    pub inhibitions: Vec<Inhibition>,
    /// How they are grouped.
    pub pace: Pace,
    /// Where they go.
    pub routes: Vec<Route>,
}

/// An alert with all that is known about its being told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The alert.
    pub active: Active,
    /// Why nobody is told.
    pub suppression: Suppression,
    /// Who is told otherwise.
    pub receivers: Vec<String>,
}

/// An alert that somebody else has posted.
#[derive(Clone, Debug)]
struct Posted {
    active: Active,
    /// When it counts as resolved, unless it is posted again.
    until: UnixNanos,
}

/// Silences, inhibition and groups over our own alerts and those of others.
#[derive(Debug)]
pub struct Alerting {
    inhibitions: Vec<Inhibition>,
    /// Silences of operators.
    pub silences: Silences,
    /// Whom to tell what.
    pub groups: Groups,
    /// `None` before the first round: nothing is known then, and nothing counts as resolved.
    own: Option<Vec<Active>>,
    posted: BTreeMap<Labels, Posted>,
}

/// Why alerts of others were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// There are too many.
    #[error("there are {POSTED_MAX} alerts of others already")]
    TooMany,
}

impl Alerting {
    /// Starts with no alerts.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            inhibitions: plan.inhibitions,
            silences: Silences::default(),
            groups: Groups::new(plan.pace, plan.routes),
            own: None,
            posted: BTreeMap::new(),
        }
    }

    /// Takes up a changed configuration.
    pub fn handle_plan(&mut self, plan: Plan) {
        self.inhibitions = plan.inhibitions;
        self.groups.handle_configuration(plan.pace, plan.routes);
    }

    /// Takes the alerts of our rules.
    pub fn handle_alerts<'a>(&mut self, alerts: impl Iterator<Item = &'a Alert>, now: UnixNanos) {
        self.own = Some(alerts.filter_map(|alert| active(alert, now)).collect());
        self.handle_timeout(now);
    }

    /// Takes alerts of others; each is resolved at its `ends_at` unless it is posted again.
    ///
    /// # Errors
    ///
    /// [`PostError`]; none of them is taken then.
    pub fn handle_posted(&mut self, posted: Vec<Active>, now: UnixNanos) -> Result<(), PostError> {
        let new = posted.iter().filter(|alert| !self.posted.contains_key(&alert.labels)).count();
        if self.posted.len() + new > POSTED_MAX {
            return Err(PostError::TooMany);
        }
        for mut active in posted {
            let until = active.ends_at.take().unwrap_or(now);
            if let Some(known) = self.posted.get(&active.labels)
                && known.active.ends_at.is_none()
            {
                active.starts_at = active.starts_at.min(known.active.starts_at);
            }
            self.posted.insert(active.labels.clone(), Posted { active, until });
        }
        self.handle_timeout(now);
        Ok(())
    }

    /// Adds or changes a silence; see [`Silences::set`].
    ///
    /// # Errors
    ///
    /// [`SilenceError`].
    pub fn handle_silence(
        &mut self,
        silence: Silence,
        fresh: String,
        now: UnixNanos,
    ) -> Result<String, SilenceError> {
        let id = self.silences.set(silence, fresh, now)?;
        self.handle_timeout(now);
        Ok(id)
    }

    /// Looks at everything anew: what ended, what is suppressed, what is news.
    pub fn handle_timeout(&mut self, now: UnixNanos) {
        for posted in self.posted.values_mut() {
            posted.active.ends_at = (posted.until <= now).then_some(posted.until);
        }
        self.posted.retain(|_, posted| posted.until.plus(RESOLVED_KEPT) > now);
        self.silences.handle_timeout(now);
        if self.own.is_none() {
            return;
        }
        let told = self.told(now);
        let alerts = told.iter().map(|told| (&told.active, told.suppression.is_suppressed()));
        self.groups.handle_alerts(alerts, now);
    }

    /// Every alert that fires or was resolved lately, ours first.
    #[must_use]
    pub fn told(&self, now: UnixNanos) -> Vec<Told> {
        let own = self.own.as_deref().unwrap_or_default();
        let all = || own.iter().chain(self.posted.values().map(|posted| &posted.active));
        let firing: Vec<&Labels> =
            all().filter(|active| active.ends_at.is_none()).map(|active| &active.labels).collect();
        all()
            .map(|active| {
                let inhibited_by =
                    inhibitor(&self.inhibitions, firing.iter().copied(), &active.labels);
                let suppression = Suppression {
                    silenced_by: self.silences.silencing(&active.labels, now),
                    inhibited_by: inhibited_by.map(print).into_iter().collect(),
                };
                let receivers = self.groups.receivers(&active.labels);
                Told { active: active.clone(), suppression, receivers }
            })
            .collect()
    }
}

/// The fingerprint of a label set as Alertmanager writes it.
#[must_use]
pub fn print(labels: &Labels) -> String {
    format!("{:016x}", fingerprint(labels))
}

/// The labels by which receivers, silences and inhibition know an alert.
#[must_use]
pub fn identity(alert: &Alert) -> Labels {
    let mut labels = alert.labels.clone();
    labels.insert("alertname".to_owned(), alert.rule.name.clone());
    labels.insert("severity".to_owned(), alert.rule.severity.as_str().to_owned());
    labels
}

fn active(alert: &Alert, now: UnixNanos) -> Option<Active> {
    let (starts_at, ends_at) = match alert.state {
        State::Inactive | State::Pending { .. } => return None,
        State::Firing { fired, .. } => (fired, None),
        State::Resolved { fired, resolved } => (fired, Some(resolved)),
    };
    Some(Active {
        labels: identity(alert),
        annotations: Labels::from([("summary".to_owned(), alert.summary())]),
        starts_at,
        ends_at,
        updated_at: now,
        generator_url: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixNanos {
        UnixNanos::new(0).plus(Duration::from_secs(seconds))
    }

    fn alerting() -> Alerting {
        let pace = Pace {
            group_by: Vec::new(),
            wait: Duration::ZERO,
            interval: Duration::from_secs(60),
            repeat: Duration::from_hours(1),
        };
        let receivers = BTreeMap::from([("hook".to_owned(), true)]);
        let routes = vec![Route { matchers: Vec::new(), receivers }];
        let inhibitions = vec![Inhibition {
            source: vec!["alertname=down".parse().unwrap()],
            target: vec!["alertname=slow".parse().unwrap()],
            equal: Vec::new(),
        }];
        let mut alerting = Alerting::new(Plan { inhibitions, pace, routes });
        alerting.handle_alerts([].iter(), at(0));
        alerting
    }

    fn posted(name: &str, until: u64) -> Active {
        Active {
            labels: Labels::from([("alertname".to_owned(), name.to_owned())]),
            annotations: Labels::new(),
            starts_at: at(0),
            ends_at: Some(at(until)),
            updated_at: at(0),
            generator_url: String::new(),
        }
    }

    #[test]
    fn an_alert_of_others_ends_unless_it_is_posted_again() {
        let mut alerting = alerting();
        alerting.handle_posted(vec![posted("down", 300)], at(0)).unwrap();
        assert_eq!(alerting.groups.next_due(at(0)).unwrap().alerts.len(), 1);
        alerting.handle_posted(vec![posted("down", 600)], at(200)).unwrap();
        assert_eq!(alerting.told(at(599))[0].active.ends_at, None);
        alerting.handle_timeout(at(600));
        assert_eq!(alerting.told(at(600))[0].active.ends_at, Some(at(600)));
        alerting.handle_timeout(at(600).plus(RESOLVED_KEPT));
        assert_eq!(alerting.told(at(9_999)), []);
    }

    #[test]
    fn what_is_silenced_or_explained_is_said_so_and_not_told() {
        let mut alerting = alerting();
        let silence = Silence {
            id: String::new(),
            matchers: vec!["alertname=other".parse().unwrap()],
            starts_at: at(0),
            ends_at: at(100),
            updated_at: at(0),
            created_by: "op".into(),
            comment: "work".into(),
        };
        alerting.handle_silence(silence, "id".into(), at(0)).unwrap();
        let alerts = ["down", "other", "slow"].map(|name| posted(name, 500)).to_vec();
        alerting.handle_posted(alerts, at(1)).unwrap();
        let told = alerting.told(at(1));
        assert_eq!(told[0].suppression, Suppression::default());
        assert_eq!(told[1].suppression.silenced_by, ["id"]);
        assert_eq!(told[2].suppression.inhibited_by, [print(&told[0].active.labels)]);
        let due = alerting.groups.next_due(at(1)).unwrap();
        let names: Vec<&str> =
            due.alerts.iter().map(|alert| alert.labels["alertname"].as_str()).collect();
        assert_eq!(names, ["down"]);
    }

    #[test]
    fn more_alerts_than_the_limit_are_refused_as_a_whole() {
        let mut alerting = alerting();
        let many = (0..=POSTED_MAX).map(|number| posted(&format!("a{number}"), 9)).collect();
        assert_eq!(alerting.handle_posted(many, at(0)), Err(PostError::TooMany));
        assert_eq!(alerting.told(at(0)), []);
    }
}
