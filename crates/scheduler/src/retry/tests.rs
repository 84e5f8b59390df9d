//! Ring 1: a table of answers, and properties of the pauses.

use proptest::prelude::*;
use settings::Suite;

use super::*;
use crate::run::Answer;

fn task(retries: u32, retry_delay: Duration) -> Task {
    let mut task = Suite::default().scheduler.tasks.remove(0);
    (task.retries, task.retry_delay) = (retries, retry_delay);
    task
}

fn answered(status: u16) -> Called {
    Called::Answered(Answer { status, bytes: 0, head: String::new() })
}

#[test]
fn only_what_may_be_otherwise_later_is_asked_again() {
    let task = task(1, Duration::from_secs(1));
    let asked_again = |called: &Called| pause(&task, called, 1, 0.0).is_some();
    for called in [Called::TimedOut, Called::Failed("refused".into())] {
        assert!(asked_again(&called), "{called:?}");
    }
    for (status, expected) in [
        (200, false),
        (204, false),
        (302, false),
        (400, false),
        (404, false),
        (408, true),
        (409, false),
        (429, true),
        (500, true),
        (503, true),
    ] {
        assert_eq!(asked_again(&answered(status)), expected, "{status}");
    }
}

proptest! {
    /// No more attempts than allowed; each pause doubles the one before it, within its random half.
    #[test]
    fn pauses_double_and_end(
        retries in 0_u32..100,
        millis in 1_u64..100_000,
        random in 0.0_f64..=1.0,
    ) {
        let delay = Duration::from_millis(millis);
        let task = task(retries, delay);
        let mut attempts = 1;
        while let Some(pause) = pause(&task, &Called::TimedOut, attempts, random) {
            let least = delay.saturating_mul(2_u32.saturating_pow(attempts - 1)).min(PAUSE_MAX);
            prop_assert!(pause >= least && pause <= least + least / 2 + Duration::from_nanos(1));
            attempts += 1;
        }
        prop_assert_eq!(attempts, retries + 1);
    }
}
