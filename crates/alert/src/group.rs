//! Whom to tell what, and when: alerts in groups, so that a storm is a few messages. Sans-IO.
//!
//! # Rules (those of Alertmanager)
//!
//! 1. An alert goes to the receivers of the first route whose matchers it fulfils. Per receiver,
//!    alerts with equal values of the `group_by` labels are told together.
//! 2. News wait for `wait`, so that what breaks together is told together, and for `interval` since
//!    the last message of their group.
//! 3. News are: an alert that fires and was not told to, one that was told to fire and is resolved
//!    (for receivers who want to know), and an alert that goes on firing `repeat` after the last
//!    message.
//! 4. A suppressed alert, silenced or inhibited, is no news and is left out of messages.
//! 5. One message per receiver is under way at a time. What fails is tried again later and then
//!    tells what is so at that time: the policy is *coalesce*, the latest per group, and nothing
//!    queues up.
//! 6. An alert that is not given any more counts as resolved.
//! 7. An alert that is given up, since nothing is known of it any more, is over and not resolved.
//!    Whoever was told that it fires is told so once, those too who want to know of no resolutions.
//!
//! Source: <https://prometheus.io/docs/alerting/latest/alertmanager/#grouping>,
//! <https://github.com/prometheus/alertmanager/blob/v0.28.0/notify/notify.go> (`needsUpdate`).

mod saved;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::UnixNanos;

pub use self::saved::SavedGroup;
use crate::matcher::{Matcher, all_match};
use crate::rule::Labels;

/// Groups at a time; a label that explodes must not take the host's memory. Alerts beyond it are
/// counted by [`Groups::refused`].
const GROUPS_MAX: usize = 1_000;

/// The first pause after a failure; it doubles with each one that follows.
const BACKOFF_MIN: Duration = Duration::from_secs(5);

/// The longest pause: a receiver that is back is told within five minutes.
const BACKOFF_MAX: Duration = Duration::from_mins(5);

/// An alert as receivers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Active {
    /// What tells it from all others, `alertname` and `severity` included.
    pub labels: Labels,
    /// What an operator reads.
    pub annotations: Labels,
    /// Since when it has been firing.
    pub starts_at: UnixNanos,
    /// When it was resolved, or given up; `None` while it fires.
    pub ends_at: Option<UnixNanos>,
    /// Whether it was given up: its end says nothing about health.
    pub given_up: bool,
    /// When it was last heard of.
    pub updated_at: UnixNanos,
    /// Where it comes from, a URL; may be empty.
    pub generator_url: String,
}

impl Active {
    /// Whether it was seen to be over.
    #[must_use]
    pub const fn is_resolved(&self) -> bool {
        self.ends_at.is_some() && !self.given_up
    }
}

/// Why nobody is told about an alert; told if both are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suppression {
    /// Ids of the silences.
    pub silenced_by: Vec<String>,
    /// Fingerprints of the alerts that explain it.
    pub inhibited_by: Vec<String>,
}

impl Suppression {
    /// Whether nobody is told.
    #[must_use]
    pub fn is_suppressed(&self) -> bool {
        !(self.silenced_by.is_empty() && self.inhibited_by.is_empty())
    }
}

/// Which alerts go where; see rule 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What an alert must fulfil; no matcher is fulfilled by all.
    pub matchers: Vec<Matcher>,
    /// Names of receivers, and whether each wants to know of what is resolved.
    pub receivers: BTreeMap<String, bool>,
}

/// How alerts are grouped and how often a group speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The labels whose values make a group; none puts everything into one.
    pub group_by: Vec<String>,
    /// How long the first news of a group wait for others.
    pub wait: Duration,
    /// The least time between two messages of a group.
    pub interval: Duration,
    /// After how long what still fires is told again.
    pub repeat: Duration,
}

/// A message that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// Who is told.
    pub receiver: String,
    /// The labels that make the group.
    pub labels: Labels,
    /// What fires, and what was told to fire and is resolved.
    pub alerts: Vec<Active>,
}

/// What came of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Sent,
    /// It may work later.
    Failed,
    /// The receiver refused it for good; it is tried again after `interval`.
    Refused,
}

/// A group as it stands, for those who look.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupState {
    /// Who is told.
    pub receiver: String,
    /// The labels that make the group.
    pub labels: Labels,
    /// The alerts in it.
    pub alerts: Vec<Active>,
}

/// All groups.
#[derive(Debug)]
pub struct Groups {
    pace: Pace,
    routes: Vec<Route>,
    groups: BTreeMap<Key, Group>,
    refused: u64,
}

/// The receiver and the group's labels.
type Key = (String, Labels);

#[derive(Debug)]
struct Group {
    members: BTreeMap<Labels, Member>,
    notified: Option<Notified>,
    /// Nothing is told before.
    not_before: UnixNanos,
    /// Whether there were news at the last look.
    has_news: bool,
    failures: u32,
    under_way: Option<Told>,
}

#[derive(Debug)]
struct Member {
    active: Active,
    suppressed: bool,
}

/// The last message that arrived.
#[derive(Debug)]
struct Notified {
    at: UnixNanos,
    told: Told,
}

/// What a message says, by fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    firing: BTreeSet<u64>,
    /// Resolved or given up.
    resolved: BTreeSet<u64>,
}

impl Groups {
    /// Starts without alerts.
    #[must_use]
    pub const fn new(pace: Pace, routes: Vec<Route>) -> Self {
        Self { pace, routes, groups: BTreeMap::new(), refused: 0 }
    }

    /// Takes up other routes and another pace. Groups that the new ones would not make are dropped.
    pub fn handle_configuration(&mut self, pace: Pace, routes: Vec<Route>) {
        if pace.group_by != self.pace.group_by {
            self.groups.clear();
        }
        self.groups.retain(|(receiver, _), _| {
            routes.iter().any(|route| route.receivers.contains_key(receiver))
        });
        (self.pace, self.routes) = (pace, routes);
    }

    /// Takes all alerts there are, each with whether it is suppressed.
    pub fn handle_alerts<'a>(
        &mut self,
        alerts: impl Iterator<Item = (&'a Active, bool)>,
        now: UnixNanos,
    ) {
        let mut seen = BTreeSet::new();
        for (active, suppressed) in alerts {
            for receiver in self.receivers(&active.labels) {
                let labels = self.group_labels(&active.labels);
                self.place((receiver, labels), active, suppressed, now);
            }
            seen.insert(&active.labels);
        }
        let (pace, routes) = (&self.pace, &self.routes);
        self.groups.retain(|(receiver, _), group| {
            group.mark_absent(&seen, now);
            group.forget_untold();
            let news = group.has_news(pace, wants_resolved(routes, receiver), now);
            if news && !group.has_news {
                group.not_before = group.not_before.max(now.plus(pace.wait));
            }
            group.has_news = news;
            // A clock that was set back must not silence a group.
            let longest = pace.wait.max(pace.interval).max(BACKOFF_MAX);
            group.not_before = group.not_before.min(now.plus(longest));
            group.under_way.is_some() || !group.members.is_empty()
        });
    }

    /// The next message, which is then under way until [`Groups::handle_outcome`]; drain it after
    /// every `handle_*` and at [`Groups::poll_timeout`].
    pub fn next_due(&mut self, now: UnixNanos) -> Option<Due> {
        let key = self
            .waiting()
            .filter(|(_, group)| group.not_before <= now)
            .min_by_key(|(_, group)| group.not_before)
            .map(|(key, _)| key.clone())?;
        let wants_resolved = wants_resolved(&self.routes, &key.0);
        let group = self.groups.get_mut(&key)?;
        let alerts = group.content(wants_resolved);
        group.under_way = Some(Told::of(&alerts));
        let (receiver, labels) = key;
        Some(Due { receiver, labels, alerts })
    }

    /// When [`Groups::next_due`] may have something, unless alerts change before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<UnixNanos> {
        self.waiting().map(|(_, group)| group.not_before).min()
    }

    /// Takes what came of a message.
    pub fn handle_outcome(
        &mut self,
        receiver: &str,
        labels: &Labels,
        outcome: Outcome,
        now: UnixNanos,
    ) {
        let Some(group) = self.groups.get_mut(&(receiver.to_owned(), labels.clone())) else {
            return;
        };
        let Some(told) = group.under_way.take() else { return };
        match outcome {
            Outcome::Sent => {
                group.members.retain(|labels, member| {
                    member.active.ends_at.is_none() || told.firing.contains(&fingerprint(labels))
                });
                group.notified = Some(Notified { at: now, told });
                group.not_before = now.plus(self.pace.interval);
                group.failures = 0;
                group.has_news =
                    group.has_news(&self.pace, wants_resolved(&self.routes, receiver), now);
            }
            Outcome::Failed => {
                group.not_before = now.plus(backoff(group.failures));
                group.failures = group.failures.saturating_add(1);
            }
            Outcome::Refused => {
                group.not_before = now.plus(self.pace.interval);
                group.failures = 0;
            }
        }
    }

    /// Every group with its alerts, suppressed ones included.
    pub fn iter(&self) -> impl Iterator<Item = GroupState> {
        self.groups.iter().map(|((receiver, labels), group)| GroupState {
            receiver: receiver.clone(),
            labels: labels.clone(),
            alerts: group.members.values().map(|member| member.active.clone()).collect(),
        })
    }

    /// Names of the receivers that an alert goes to.
    #[must_use]
    pub fn receivers(&self, labels: &Labels) -> Vec<String> {
        self.routes
            .iter()
            .find(|route| all_match(&route.matchers, labels))
            .map(|route| route.receivers.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// How often an alert was not told because there were too many groups.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Groups with something to say whose receiver is not being told something.
    fn waiting(&self) -> impl Iterator<Item = (&Key, &Group)> {
        let busy: BTreeSet<&str> = self
            .groups
            .iter()
            .filter(|(_, group)| group.under_way.is_some())
            .map(|((receiver, _), _)| receiver.as_str())
            .collect();
        self.groups.iter().filter(move |((receiver, _), group)| {
            group.has_news && !busy.contains(receiver.as_str())
        })
    }

    fn group_labels(&self, labels: &Labels) -> Labels {
        let pair = |name: &String| Some((name.clone(), labels.get(name)?.clone()));
        self.pace.group_by.iter().filter_map(pair).collect()
    }

    fn place(&mut self, key: Key, active: &Active, suppressed: bool, now: UnixNanos) {
        let known = self.groups.get(&key);
        let resolved = active.ends_at.is_some();
        // What ended before anybody was told is no news.
        if resolved && known.is_none_or(|group| !group.knows(&active.labels)) {
            return;
        }
        if known.is_none() && self.groups.len() >= GROUPS_MAX {
            self.refused = self.refused.saturating_add(1);
            return;
        }
        let group = self.groups.entry(key).or_insert_with(|| Group::new(now));
        let member = Member { active: active.clone(), suppressed };
        group.members.insert(active.labels.clone(), member);
    }
}

impl Group {
    const fn new(now: UnixNanos) -> Self {
        Self {
            members: BTreeMap::new(),
            notified: None,
            not_before: now,
            has_news: false,
            failures: 0,
            under_way: None,
        }
    }

    fn knows(&self, labels: &Labels) -> bool {
        self.members.contains_key(labels) || self.was_told(fingerprint(labels))
    }

    /// Whether the last message, or the one under way, says that an alert fires.
    fn was_told(&self, print: u64) -> bool {
        let told = |told: &Told| told.firing.contains(&print);
        self.notified.as_ref().is_some_and(|last| told(&last.told))
            || self.under_way.as_ref().is_some_and(told)
    }

    fn mark_absent(&mut self, seen: &BTreeSet<&Labels>, now: UnixNanos) {
        for (labels, member) in &mut self.members {
            if !seen.contains(labels) {
                member.active.ends_at.get_or_insert(now);
            }
        }
    }

    /// Drops what ended before anybody was told.
    fn forget_untold(&mut self) {
        let mut members = std::mem::take(&mut self.members);
        members.retain(|labels, member| {
            member.active.ends_at.is_none() || self.was_told(fingerprint(labels))
        });
        self.members = members;
    }

    fn content(&self, wants_resolved: bool) -> Vec<Active> {
        self.members
            .values()
            .filter(|member| !member.suppressed)
            .filter(|member| wants_resolved || !member.active.is_resolved())
            .map(|member| member.active.clone())
            .collect()
    }

    fn has_news(&self, pace: &Pace, wants_resolved: bool, now: UnixNanos) -> bool {
        let told = Told::of(&self.content(wants_resolved));
        let Some(last) = &self.notified else { return !told.firing.is_empty() };
        let repeat_at = last.at.plus(pace.repeat);
        !told.firing.is_subset(&last.told.firing)
            || !told.resolved.is_subset(&last.told.resolved)
            || (!told.firing.is_empty() && now >= repeat_at)
    }
}

impl Told {
    fn of(alerts: &[Active]) -> Self {
        let mut told = Self::default();
        for active in alerts {
            let side = if active.ends_at.is_none() { &mut told.firing } else { &mut told.resolved };
            side.insert(fingerprint(&active.labels));
        }
        told
    }
}

fn wants_resolved(routes: &[Route], receiver: &str) -> bool {
    routes.iter().any(|route| route.receivers.get(receiver) == Some(&true))
}

fn backoff(failures: u32) -> Duration {
    BACKOFF_MIN.saturating_mul(1_u32 << failures.min(10)).min(BACKOFF_MAX)
}

/// The number by which Prometheus and Alertmanager know a label set: FNV-1a over names and values
/// in order, each followed by a byte 255.
///
/// Source: <https://github.com/prometheus/common/blob/v0.60.0/model/signature.go>.
#[must_use]
pub fn fingerprint(labels: &Labels) -> u64 {
    const OFFSET: u64 = 14_695_981_039_346_656_037;
    const PRIME: u64 = 1_099_511_628_211;
    labels
        .iter()
        .flat_map(|(name, value)| [name, value])
        .flat_map(|text| text.bytes().chain([255]))
        .fold(OFFSET, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests;
