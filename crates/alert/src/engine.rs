//! The states of all rules and label sets, driven by samples.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use units::UnixNanos;

use crate::rule::{Labels, Quantity, Rule, Sample};

/// How many series all rules together may watch; a metric that explodes must not take the host's
/// memory with it. Series beyond it are counted by [`Engine::refused`].
const SERIES_MAX: usize = 10_000;

/// Where an alert stands. Times are those of the evaluations, nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The condition does not hold and did not lately.
    Inactive,
    /// The condition holds, not yet long enough.
    Pending {
        /// When it began to hold.
        since: UnixNanos,
    },
    /// The condition has held for the rule's `hold`.
    Firing {
        /// When it began to hold.
        since: UnixNanos,
        /// When the alert fired.
        fired: UnixNanos,
    },
    /// It fired, and the condition was then seen not to hold.
    Resolved {
        /// When the alert had fired.
        fired: UnixNanos,
        /// When the condition was first seen not to hold.
        resolved: UnixNanos,
    },
}

/// Whether the last evaluation saw the series.
///
/// An absent series keeps its state: no data is neither trouble nor health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// The last evaluation had a value.
    Present,
    /// No evaluation since had one.
    AbsentSince(UnixNanos),
}

/// One rule applied to one label set.
#[derive(Clone, Debug)]
pub struct Alert {
    /// The rule.
    pub rule: Arc<Rule>,
    /// The labels of the series with those of the rule.
    pub labels: Labels,
    /// Where it stands.
    pub state: State,
    /// Whether the state rests on current data.
    pub data: Data,
    /// The last quantity compared with the threshold.
    pub quantity: f64,
}

impl Alert {
    /// What an operator reads.
    #[must_use]
    pub fn summary(&self) -> String {
        self.rule.summary.render(&self.labels, self.quantity)
    }
}

/// What happened to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The condition began to hold.
    Pending,
    /// It stopped holding before the alert fired.
    Withdrawn,
    /// The alert fired.
    Fired,
    /// The condition was seen not to hold any more.
    Resolved,
    /// A firing alert was given up: its rule was removed or changed, or its series has been absent
    /// for so long that nothing is known about it. It says nothing about health.
    Lost,
}

/// A change, with the alert as it is after it.
#[derive(Clone, Debug)]
pub struct Transition {
    /// What happened.
    pub change: Change,
    /// To which alert.
    pub alert: Alert,
}

/// How a rule stands over all its series.
#[derive(Clone, Debug)]
pub struct RuleStatus {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Series with current data.
    pub present: usize,
    /// Series seen before whose data is missing.
    pub absent: usize,
    /// Alerts pending.
    pub pending: usize,
    /// Alerts firing.
    pub firing: usize,
}

/// Evaluates rules over samples and remembers one state per rule and label set.
///
/// Time is given to [`Engine::handle_samples`] and never runs backwards inside: an earlier time than
/// the last one counts as the last one.
#[derive(Debug)]
pub struct Engine {
    rules: Vec<Arc<Rule>>,
    series: BTreeMap<Key, Series>,
    transitions: VecDeque<Transition>,
    forget_after: Duration,
    now: UnixNanos,
    refused: u64,
}

/// The rule's name and the labels of the series.
type Key = (String, Labels);

#[derive(Debug)]
struct Series {
    rule: Arc<Rule>,
    growth: Growth,
    state: State,
    data: Data,
    quantity: f64,
}

impl Engine {
    /// Starts with no series known. A series absent for `forget_after` is dropped; if it was firing,
    /// that is reported as [`Change::Lost`].
    #[must_use]
    pub fn new(rules: Vec<Rule>, forget_after: Duration) -> Self {
        Self {
            rules: rules.into_iter().map(Arc::new).collect(),
            series: BTreeMap::new(),
            transitions: VecDeque::new(),
            forget_after,
            now: UnixNanos::new(i64::MIN),
            refused: 0,
        }
    }

    /// Replaces the rules; a rule that did not change keeps its states.
    pub fn handle_rules(&mut self, rules: Vec<Rule>) {
        self.rules = rules.into_iter().map(Arc::new).collect();
        let current: BTreeMap<&str, &Arc<Rule>> =
            self.rules.iter().map(|rule| (rule.name.as_str(), rule)).collect();
        let transitions = &mut self.transitions;
        self.series.retain(|(name, labels), series| {
            let kept = current.get(name.as_str()).is_some_and(|rule| **rule == series.rule);
            if !kept {
                transitions.extend(series.lost(labels));
            }
            kept
        });
    }

    /// Evaluates every rule. `samples` is everything known at `now`; what is not in it is absent.
    ///
    /// Of samples with the same name and labels the last one counts.
    pub fn handle_samples(&mut self, samples: &[Sample], now: UnixNanos) {
        self.now = self.now.max(now);
        let mut observed: BTreeMap<Key, (usize, f64)> = BTreeMap::new();
        for (place, rule) in self.rules.iter().enumerate() {
            for sample in samples.iter().filter(|sample| rule.condition.selects(sample)) {
                observed.insert((rule.name.clone(), sample.labels.clone()), (place, sample.value));
            }
        }
        self.handle_absence(&observed);
        for (key, (place, value)) in observed {
            if !self.series.contains_key(&key) && self.series.len() >= SERIES_MAX {
                self.refused = self.refused.saturating_add(1);
                continue;
            }
            let rule = &self.rules[place];
            let labels = key.1.clone();
            let series = self.series.entry(key).or_insert_with(|| Series::new(Arc::clone(rule)));
            series.observe(value, self.now, &labels, &mut self.transitions);
        }
    }

    /// The next change in the order of happening; drain it after every `handle_*`.
    pub fn next_transition(&mut self) -> Option<Transition> {
        self.transitions.pop_front()
    }

    /// Every alert that is pending, firing or resolved, by rule name and labels.
    pub fn alerts(&self) -> impl Iterator<Item = Alert> {
        self.series
            .iter()
            .filter(|(_, series)| series.state != State::Inactive)
            .map(|((_, labels), series)| series.alert(labels))
    }

    /// How each rule stands, in the order of the rules.
    pub fn rules(&self) -> impl Iterator<Item = RuleStatus> {
        self.rules.iter().map(|rule| {
            let mut status =
                RuleStatus { rule: Arc::clone(rule), present: 0, absent: 0, pending: 0, firing: 0 };
            for series in self.series.values().filter(|series| series.rule.name == rule.name) {
                match series.data {
                    Data::Present => status.present += 1,
                    Data::AbsentSince(_) => status.absent += 1,
                }
                match series.state {
                    State::Pending { .. } => status.pending += 1,
                    State::Firing { .. } => status.firing += 1,
                    State::Inactive | State::Resolved { .. } => {}
                }
            }
            status
        })
    }

    /// How often a series was not watched because there were too many.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    fn handle_absence(&mut self, observed: &BTreeMap<Key, (usize, f64)>) {
        let (now, forget_after) = (self.now, self.forget_after);
        let transitions = &mut self.transitions;
        self.series.retain(|key, series| {
            if observed.contains_key(key) {
                return true;
            }
            let since = match series.data {
                Data::Present => now,
                Data::AbsentSince(since) => since,
            };
            series.data = Data::AbsentSince(since);
            let kept = elapsed(since, now) < forget_after;
            if !kept {
                transitions.extend(series.lost(&key.1));
            }
            kept
        });
    }
}

impl Series {
    fn new(rule: Arc<Rule>) -> Self {
        Self {
            rule,
            growth: Growth::default(),
            state: State::Inactive,
            data: Data::Present,
            quantity: 0.0,
        }
    }

    fn alert(&self, labels: &Labels) -> Alert {
        let mut labels = labels.clone();
        labels.extend(self.rule.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
        Alert {
            rule: Arc::clone(&self.rule),
            labels,
            state: self.state,
            data: self.data,
            quantity: self.quantity,
        }
    }

    fn lost(&self, labels: &Labels) -> Option<Transition> {
        matches!(self.state, State::Firing { .. })
            .then(|| Transition { change: Change::Lost, alert: self.alert(labels) })
    }

    fn observe(
        &mut self,
        value: f64,
        now: UnixNanos,
        labels: &Labels,
        transitions: &mut VecDeque<Transition>,
    ) {
        self.data = Data::Present;
        self.quantity = match self.rule.condition.quantity {
            Quantity::Value => value,
            Quantity::Increase { window } => self.growth.observe(value, now, window),
        };
        let condition = &self.rule.condition;
        let holds = condition.comparison.holds(self.quantity, condition.threshold);
        let mut report = |series: &Self, change| {
            transitions.push_back(Transition { change, alert: series.alert(labels) });
        };
        match (self.state, holds) {
            (State::Inactive | State::Resolved { .. }, true) => {
                self.state = State::Pending { since: now };
                report(self, Change::Pending);
            }
            (State::Pending { .. }, false) => {
                self.state = State::Inactive;
                report(self, Change::Withdrawn);
            }
            (State::Firing { fired, .. }, false) => {
                self.state = State::Resolved { fired, resolved: now };
                report(self, Change::Resolved);
            }
            (State::Pending { .. } | State::Firing { .. }, true)
            | (State::Inactive | State::Resolved { .. }, false) => {}
        }
        if let State::Pending { since } = self.state
            && elapsed(since, now) >= self.rule.hold
        {
            self.state = State::Firing { since, fired: now };
            report(self, Change::Fired);
        }
    }
}

/// The steps by which a counter grew lately.
#[derive(Debug, Default)]
struct Growth {
    last: Option<f64>,
    steps: VecDeque<(UnixNanos, f64)>,
}

impl Growth {
    /// Takes a reading and returns the growth within `window`. The first reading is the base line.
    fn observe(&mut self, value: f64, now: UnixNanos, window: Duration) -> f64 {
        if let Some(last) = self.last.replace(value) {
            let step = if value < last { value } else { value - last };
            if step > 0.0 {
                self.steps.push_back((now, step));
            }
        }
        while self.steps.front().is_some_and(|&(time, _)| elapsed(time, now) >= window) {
            self.steps.pop_front();
        }
        self.steps.iter().map(|&(_, step)| step).sum()
    }
}

/// The length from `earlier` to `later`; zero if the order is the other way round.
fn elapsed(earlier: UnixNanos, later: UnixNanos) -> Duration {
    Duration::from_nanos(u64::try_from(later.since(earlier)).unwrap_or(0))
}

#[cfg(test)]
mod tests;
