//! Results of the last while, in ten slots that are forgotten one by one.

use std::time::{Duration, Instant};

/// Slots of a window: a result is remembered for nine to ten tenths of it.
pub(super) const SLOTS: usize = 10;

/// Counts results and failures over a time that moves on.
#[derive(Debug)]
pub(super) struct Window {
    origin: Instant,
    length: Duration,
    /// Number of the newest slot since `origin`.
    newest: u128,
    slots: [Slot; SLOTS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    results: u32,
    failures: u32,
}

impl Window {
    pub(super) fn new(now: Instant) -> Window {
        Window { origin: now, length: Duration::ZERO, newest: 0, slots: [Slot::default(); SLOTS] }
    }

    /// Counts a result.
    pub(super) fn add(&mut self, is_failure: bool, length: Duration, now: Instant) {
        self.advance(length, now);
        let slot = &mut self.slots[index(self.newest)];
        slot.results = slot.results.saturating_add(1);
        slot.failures = slot.failures.saturating_add(u32::from(is_failure));
    }

    /// Returns the results within the window, and the failures among them.
    pub(super) fn counts(&mut self, length: Duration, now: Instant) -> (u32, u32) {
        self.advance(length, now);
        self.slots.iter().fold((0, 0), |(results, failures), slot| {
            (slot.results.saturating_add(results), slot.failures.saturating_add(failures))
        })
    }

    fn advance(&mut self, length: Duration, now: Instant) {
        if length != self.length {
            // A reload changed it: what was counted lies in slots of another length.
            *self = Window { length, ..Window::new(now) };
        }
        let slot = (length.as_nanos() / SLOTS as u128).max(1);
        let current = now.saturating_duration_since(self.origin).as_nanos() / slot;
        let passed = current.saturating_sub(self.newest);
        for step in 1..=passed.min(SLOTS as u128) {
            self.slots[index(self.newest + step)] = Slot::default();
        }
        self.newest = self.newest.max(current);
    }
}

fn index(slot: u128) -> usize {
    usize::try_from(slot % SLOTS as u128).unwrap_or_default()
}
