//! What becomes of alerts that fire: silenced, inhibited, grouped. Sans-IO.

use std::collections::BTreeMap;
use std::time::Duration;

use alert::{
    Active, Alert, Data, Groups, Inhibition, Labels, Pace, Route, Silence, SilenceError, Silences,
    State, Suppression, fingerprint, inhibitor,
};
use units::UnixNanos;

/// Alerts of others at a time; Alertmanager's clients send a few.
const POSTED_MAX: usize = 10_000;

/// How long a resolved alert of others is kept, so that its receivers are told.
const RESOLVED_KEPT: Duration = Duration::from_mins(15);

/// How long an alert that was given up is kept, so that its receivers are told.
const GIVEN_UP_KEPT: Duration = Duration::from_mins(15);

/// Alerts given up at a time, as many as there can be series; the oldest make room.
const GIVEN_UP_MAX: usize = 10_000;

/// How long an alert of others that was firing goes on firing after a restart: whoever posts it had
/// nobody to post it to, and posts it again within this time.
const REPOSTED_WITHIN: Duration = Duration::from_mins(5);

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
#[derive(Clone, Debug, PartialEq)]
pub struct Posted {
    /// The alert.
    pub active: Active,
    /// When it counts as resolved, unless it is posted again.
    pub until: UnixNanos,
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
    /// Alerts of ours that were given up while they fired.
    given_up: BTreeMap<Labels, Active>,
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
            given_up: BTreeMap::new(),
            posted: BTreeMap::new(),
        }
    }

    /// Takes up alerts of others that an earlier run knew, and those that it gave up, before the
    /// first round: whoever was told that they fire must be told what became of them.
    pub fn restore(&mut self, posted: Vec<Posted>, given_up: Vec<Active>, now: UnixNanos) {
        self.given_up =
            given_up.into_iter().map(|active| (active.labels.clone(), active)).collect();
        for mut posted in posted.into_iter().take(POSTED_MAX) {
            if posted.active.ends_at.is_none() {
                posted.until = posted.until.max(now.plus(REPOSTED_WITHIN));
            }
            self.posted.insert(posted.active.labels.clone(), posted);
        }
    }

    /// The alerts of others.
    pub fn posted(&self) -> impl Iterator<Item = &Posted> {
        self.posted.values()
    }

    /// Alerts of ours that were given up lately.
    pub fn given_up(&self) -> impl Iterator<Item = &Active> {
        self.given_up.values()
    }

    /// Takes up a changed configuration.
    pub fn handle_plan(&mut self, plan: Plan) {
        self.inhibitions = plan.inhibitions;
        self.groups.handle_configuration(plan.pace, plan.routes);
    }

    /// Takes the alerts of our rules.
    pub fn handle_alerts<'a>(&mut self, alerts: impl Iterator<Item = &'a Alert>, now: UnixNanos) {
        let own: Vec<Active> = alerts.filter_map(|alert| active(alert, now)).collect();
        for active in &own {
            self.given_up.remove(&active.labels);
        }
        self.own = Some(own);
        self.handle_timeout(now);
    }

    /// Takes an alert of ours that was given up while it fired; call it before the alerts that are
    /// left are given.
    pub fn handle_lost(&mut self, alert: &Alert, now: UnixNanos) {
        let Some(mut active) = active(alert, now) else { return };
        let why = match alert.data {
            Data::Present => "its rule was changed",
            Data::AbsentSince(_) => "no data any more",
        };
        let summary = format!("{why}: {}", alert.summary());
        active.annotations.insert("summary".to_owned(), summary);
        (active.ends_at, active.given_up) = (Some(now), true);
        if self.given_up.len() >= GIVEN_UP_MAX {
            let oldest = self.given_up.values().min_by_key(|active| active.ends_at);
            if let Some(labels) = oldest.map(|active| active.labels.clone()) {
                self.given_up.remove(&labels);
            }
        }
        self.given_up.insert(active.labels.clone(), active);
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
        self.given_up.retain(|_, active| {
            active.ends_at.is_some_and(|ended| ended.plus(GIVEN_UP_KEPT) > now)
        });
        self.silences.handle_timeout(now);
        if self.own.is_none() {
            return;
        }
        let told = self.told(now);
        let alerts = told.iter().map(|told| (&told.active, told.suppression.is_suppressed()));
        self.groups.handle_alerts(alerts, now);
    }

    /// Every alert that fires, or was resolved or given up lately; ours first.
    #[must_use]
    pub fn told(&self, now: UnixNanos) -> Vec<Told> {
        let own = self.own.as_deref().unwrap_or_default();
        let others = || self.posted.values().map(|posted| &posted.active);
        let all = || own.iter().chain(self.given_up.values()).chain(others());
        let firing: Vec<&Labels> =
            all().filter(|active| active.ends_at.is_none()).map(|active| &active.labels).collect();
        all()
            .map(|active| {
                // What is given up is told once or never: nothing else speaks for it.
                let inhibited_by = (!active.given_up)
                    .then(|| inhibitor(&self.inhibitions, firing.iter().copied(), &active.labels))
                    .flatten();
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
    let mut annotations = alert.rule.annotations.clone();
    annotations.insert("summary".to_owned(), alert.summary());
    Some(Active {
        labels: identity(alert),
        annotations,
        starts_at,
        ends_at,
        given_up: false,
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

    fn plan() -> Plan {
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
        Plan { inhibitions, pace, routes }
    }

    fn alerting() -> Alerting {
        let mut alerting = Alerting::new(plan());
        alerting.handle_alerts([].iter(), at(0));
        alerting
    }

    fn posted(name: &str, until: u64) -> Active {
        Active {
            labels: Labels::from([("alertname".to_owned(), name.to_owned())]),
            annotations: Labels::new(),
            starts_at: at(0),
            ends_at: Some(at(until)),
            given_up: false,
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

    /// The alerts of the next message, resolved ones with a minus.
    fn next(alerting: &mut Alerting, now: UnixNanos) -> Option<Vec<String>> {
        let due = alerting.groups.next_due(now)?;
        alerting.groups.handle_outcome(&due.receiver, &due.labels, alert::Outcome::Sent, now);
        let word = |alert: &Active| {
            let sign = if alert.ends_at.is_some() { "-" } else { "" };
            format!("{sign}{}", alert.labels["alertname"])
        };
        Some(due.alerts.iter().map(word).collect())
    }

    /// What an earlier run leaves, in the next one.
    fn restarted(before: &Alerting, now: UnixNanos) -> Alerting {
        let mut after = Alerting::new(plan());
        after.groups.restore(before.groups.save(), now);
        let given_up = before.given_up().cloned().collect();
        after.restore(before.posted().cloned().collect(), given_up, now);
        after
    }

    #[test]
    fn what_others_posted_is_told_to_be_resolved_after_a_restart() {
        let mut before = alerting();
        before.handle_posted(vec![posted("down", 300)], at(0)).unwrap();
        assert_eq!(next(&mut before, at(0)), Some(vec!["down".to_owned()]));

        let mut after = restarted(&before, at(20));
        after.handle_alerts([].iter(), at(25));
        assert_eq!(next(&mut after, at(90)), None);
        after.handle_posted(vec![posted("down", 80)], at(100)).unwrap();
        assert_eq!(next(&mut after, at(100)), Some(vec!["-down".to_owned()]));
    }

    #[test]
    fn what_others_could_not_post_again_during_a_restart_goes_on_for_a_while() {
        let mut before = alerting();
        before.handle_posted(vec![posted("down", 300)], at(0)).unwrap();
        assert_eq!(next(&mut before, at(0)), Some(vec!["down".to_owned()]));

        let mut after = restarted(&before, at(900));
        after.handle_alerts([].iter(), at(900));
        assert_eq!(next(&mut after, at(900)), None);
        let end = at(900).plus(REPOSTED_WITHIN);
        after.handle_timeout(end);
        assert_eq!(next(&mut after, end), Some(vec!["-down".to_owned()]));
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
