//! The states of all rules and label sets, driven by samples.

mod growth;
mod saved;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use units::UnixNanos;

use self::growth::Growth;
pub use self::saved::SavedSeries;
use crate::rule::{Labels, Quantity, Rule, Sample};

/// The label that says whose metrics a series is among.
const SOURCE: &str = "service";

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
    /// Whose metrics were read as a whole at the last evaluation.
    sources: BTreeSet<String>,
}

/// The rule's name and the labels of the series.
type Key = (String, Labels);

/// What an evaluation saw of a series: the value, or the sum and the count of a histogram.
#[derive(Clone, Copy, Debug)]
struct Reading {
    value: f64,
    count: Option<f64>,
}

#[derive(Debug)]
struct Series {
    rule: Arc<Rule>,
    /// Of the value, or of the sum and the count.
    growth: [Growth; 2],
    state: State,
    /// Since when the condition of a firing alert has not held.
    clear_since: Option<UnixNanos>,
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
            sources: BTreeSet::new(),
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
    /// Of samples with the same name and labels the last one counts. `scraped` names the sources,
    /// by their label `service`, whose metrics are all in it. A counter that was missing among them
    /// and is there the next time has counted from zero: its first event is not taken for its past.
    pub fn handle_samples(
        &mut self,
        samples: &[Sample],
        scraped: BTreeSet<String>,
        now: UnixNanos,
    ) {
        self.now = self.now.max(now);
        let mut observed: BTreeMap<Key, (usize, Reading)> = BTreeMap::new();
        for (place, rule) in self.rules.iter().enumerate() {
            for (labels, reading) in readings(rule, samples) {
                observed.insert((rule.name.clone(), labels), (place, reading));
            }
        }
        self.handle_absence(&observed, &scraped);
        for (key, (place, reading)) in observed {
            if !self.series.contains_key(&key) && self.series.len() >= SERIES_MAX {
                self.refused = self.refused.saturating_add(1);
                continue;
            }
            let rule = &self.rules[place];
            let labels = key.1.clone();
            let is_new = labels.get(SOURCE).is_some_and(|source| self.sources.contains(source));
            let series =
                self.series.entry(key).or_insert_with(|| Series::new(Arc::clone(rule), is_new));
            series.observe(reading, self.now, &labels, &mut self.transitions);
        }
        self.sources = scraped;
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

    fn handle_absence(
        &mut self,
        observed: &BTreeMap<Key, (usize, Reading)>,
        scraped: &BTreeSet<String>,
    ) {
        let (now, forget_after) = (self.now, self.forget_after);
        let transitions = &mut self.transitions;
        self.series.retain(|key, series| {
            if observed.contains_key(key) {
                return true;
            }
            if key.1.get(SOURCE).is_some_and(|source| scraped.contains(source)) {
                series.growth.iter_mut().for_each(Growth::was_absent);
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

/// What a rule wants to know of the samples, by label set.
fn readings(rule: &Rule, samples: &[Sample]) -> BTreeMap<Labels, Reading> {
    let of = |name: &str| {
        samples
            .iter()
            .filter(|sample| sample.metric == name && rule.condition.selects(sample))
            .map(|sample| (sample.labels.clone(), sample.value))
            .collect::<BTreeMap<Labels, f64>>()
    };
    let names = rule.condition.series();
    let values = of(&names[0]);
    match names.get(1).map(|name| of(name)) {
        None => {
            let alone = |(labels, value)| (labels, Reading { value, count: None });
            values.into_iter().map(alone).collect()
        }
        Some(counts) => values
            .into_iter()
            .filter_map(|(labels, value)| {
                let count = Some(*counts.get(&labels)?);
                Some((labels, Reading { value, count }))
            })
            .collect(),
    }
}

impl Series {
    fn new(rule: Arc<Rule>, from_zero: bool) -> Self {
        let growth = || if from_zero { Growth::from_zero() } else { Growth::default() };
        Self {
            rule,
            growth: [growth(), growth()],
            state: State::Inactive,
            clear_since: None,
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

    /// The number that is compared; none if a histogram has seen nothing within the window.
    fn quantity(&mut self, reading: Reading, now: UnixNanos) -> Option<f64> {
        let [values, counts] = &mut self.growth;
        match self.rule.condition.quantity {
            Quantity::Value => Some(reading.value),
            Quantity::Increase { window } => Some(values.observe(reading.value, now, window)),
            Quantity::Mean { window } => {
                let sum = values.observe(reading.value, now, window);
                let count = counts.observe(reading.count?, now, window);
                (count > 0.0).then(|| sum / count)
            }
        }
    }

    fn observe(
        &mut self,
        reading: Reading,
        now: UnixNanos,
        labels: &Labels,
        transitions: &mut VecDeque<Transition>,
    ) {
        let Some(quantity) = self.quantity(reading, now) else {
            if self.data == Data::Present {
                self.data = Data::AbsentSince(now);
            }
            return;
        };
        self.data = Data::Present;
        self.quantity = quantity;
        let firing = matches!(self.state, State::Firing { .. });
        let holds = self.rule.condition.holds(quantity, firing);
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
                let since = *self.clear_since.get_or_insert(now);
                if elapsed(since, now) >= self.rule.keep {
                    self.state = State::Resolved { fired, resolved: now };
                    self.clear_since = None;
                    report(self, Change::Resolved);
                }
            }
            (State::Firing { .. }, true) => self.clear_since = None,
            (State::Pending { .. }, true) | (State::Inactive | State::Resolved { .. }, false) => {}
        }
        if let State::Pending { since } = self.state
            && elapsed(since, now) >= self.rule.hold
        {
            self.state = State::Firing { since, fired: now };
            report(self, Change::Fired);
        }
    }
}

/// The length from `earlier` to `later`; zero if the order is the other way round.
fn elapsed(earlier: UnixNanos, later: UnixNanos) -> Duration {
    Duration::from_nanos(u64::try_from(later.since(earlier)).unwrap_or(0))
}

#[cfg(test)]
mod tests;
