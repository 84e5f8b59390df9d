//! By how much a counter grew lately.

use std::collections::VecDeque;
use std::time::Duration;

use units::UnixNanos;

use super::elapsed;

/// The steps by which a counter grew lately.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Growth {
    pub(super) last: Option<f64>,
    pub(super) steps: VecDeque<(UnixNanos, f64)>,
}

impl Growth {
    /// Of a counter that was seen to be absent, so that all it shows has happened since.
    pub(super) fn from_zero() -> Self {
        Self { last: Some(0.0), ..Self::default() }
    }

    /// Notes that the counter was seen to be absent: its process was started anew.
    pub(super) fn was_absent(&mut self) {
        self.last = Some(0.0);
    }

    /// Takes a reading and returns the growth within `window`. The first reading is the base line.
    pub(super) fn observe(&mut self, value: f64, now: UnixNanos, window: Duration) -> f64 {
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
