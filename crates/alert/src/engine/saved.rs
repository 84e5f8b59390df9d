//! The states of all series, as they outlive a restart.

use serde::{Deserialize, Serialize};
use units::UnixNanos;

use super::{Data, Engine, Growth, Series, State};
use crate::rule::Labels;

/// The state of one rule and label set. Times are nanoseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedSeries {
    rule: String,
    /// What the rule said; a state of another condition is worth nothing.
    condition: String,
    labels: Labels,
    since: Option<i64>,
    fired: Option<i64>,
    resolved: Option<i64>,
    clear_since: Option<i64>,
    absent_since: Option<i64>,
    quantity: f64,
    growth: Vec<SavedGrowth>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedGrowth {
    last: Option<f64>,
    steps: Vec<(i64, f64)>,
}

impl SavedGrowth {
    fn of(growth: &Growth) -> Self {
        let steps = growth.steps.iter().map(|&(time, step)| (time.as_i64(), step)).collect();
        Self { last: growth.last.filter(|last| last.is_finite()), steps }
    }

    fn growth(self) -> Growth {
        let steps = self.steps.into_iter().map(|(time, step)| (UnixNanos::new(time), step));
        Growth { last: self.last, steps: steps.collect() }
    }
}

impl SavedSeries {
    fn of(labels: &Labels, series: &Series) -> Self {
        let nanos = |time: UnixNanos| Some(time.as_i64());
        let (since, fired, resolved) = match series.state {
            State::Inactive => (None, None, None),
            State::Pending { since } => (nanos(since), None, None),
            State::Firing { since, fired } => (nanos(since), nanos(fired), None),
            State::Resolved { fired, resolved } => (None, nanos(fired), nanos(resolved)),
        };
        Self {
            rule: series.rule.name.clone(),
            condition: series.rule.condition.to_string(),
            labels: labels.clone(),
            since,
            fired,
            resolved,
            clear_since: series.clear_since.and_then(nanos),
            absent_since: match series.data {
                Data::Present => None,
                Data::AbsentSince(since) => nanos(since),
            },
            // Only for those who look before the next evaluation; JSON knows no infinity.
            quantity: if series.quantity.is_finite() { series.quantity } else { 0.0 },
            growth: series.growth.iter().map(SavedGrowth::of).collect(),
        }
    }

    fn state(&self) -> State {
        let time = |nanos: i64| UnixNanos::new(nanos);
        match (self.since.map(time), self.fired.map(time), self.resolved.map(time)) {
            (Some(since), Some(fired), _) => State::Firing { since, fired },
            (Some(since), None, _) => State::Pending { since },
            (None, Some(fired), Some(resolved)) => State::Resolved { fired, resolved },
            (None, Some(_) | None, _) => State::Inactive,
        }
    }
}

impl Engine {
    /// What must outlive this process: every state but the untouched ones.
    #[must_use]
    pub fn save(&self) -> Vec<SavedSeries> {
        self.series
            .iter()
            .filter(|(_, series)| {
                series.state != State::Inactive
                    || series.growth.iter().any(|growth| growth.last.is_some())
            })
            .map(|((_, labels), series)| SavedSeries::of(labels, series))
            .collect()
    }

    /// Takes up the states of an earlier run at `now`; those of rules that say something else now
    /// are dropped. Until they are seen again, the series count as absent.
    pub fn restore(&mut self, saved: Vec<SavedSeries>, now: UnixNanos) {
        for mut series in saved {
            let Some(rule) = self.rules.iter().find(|rule| {
                rule.name == series.rule && rule.condition.to_string() == series.condition
            }) else {
                continue;
            };
            let absent_since = series.absent_since.map_or(now, UnixNanos::new);
            let mut growth = std::mem::take(&mut series.growth).into_iter();
            let mut growth = || growth.next().map(SavedGrowth::growth).unwrap_or_default();
            let restored = Series {
                rule: std::sync::Arc::clone(rule),
                growth: [growth(), growth()],
                state: series.state(),
                clear_since: series.clear_since.map(UnixNanos::new),
                data: Data::AbsentSince(absent_since),
                quantity: series.quantity,
            };
            self.series.insert((series.rule, series.labels), restored);
        }
    }
}
