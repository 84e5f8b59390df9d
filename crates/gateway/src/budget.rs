//! How many requests may be repeated. Repeating all of them doubles the load of a backend that
//! fails because of its load.

/// Thousandths of a repetition that every request earns: one in ten may be repeated.
const EARNED: u32 = 100;

/// What one repetition costs.
const COST: u32 = 1_000;

/// What can be saved up: ten repetitions, so that the first requests after a start may be repeated
/// and a burst of them still cannot.
const SAVED_MAX: u32 = 10 * COST;

/// The repetitions of requests to one backend.
#[derive(Debug)]
pub(crate) struct Budget {
    saved: u32,
}

impl Budget {
    pub(crate) fn new() -> Budget {
        Budget { saved: SAVED_MAX }
    }

    /// Counts a request that is sent for the first time.
    pub(crate) fn earn(&mut self) {
        self.saved = (self.saved + EARNED).min(SAVED_MAX);
    }

    /// Whether a request may be repeated; if so it is taken for repeated.
    pub(crate) fn spend(&mut self) -> bool {
        let rest = self.saved.checked_sub(COST);
        self.saved = rest.unwrap_or(self.saved);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_a_tenth_is_repeated_beyond_what_was_saved() {
        let mut budget = Budget::new();
        let mut repeated = 0;
        for _ in 0..1_000 {
            budget.earn();
            repeated += u32::from(budget.spend());
        }
        // What the first earns finds no room.
        assert_eq!(repeated, 10 + 99);
        for _ in 0..1_000 {
            budget.earn();
        }
        let burst = std::iter::from_fn(|| budget.spend().then_some(())).count();
        assert_eq!(burst, 10, "a long quiet time saves up no more");
    }
}
