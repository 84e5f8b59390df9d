//! Asks a service again that was not there.

use std::time::Duration;

use rand::RngExt as _;
use settings::{Endpoint, Task};

use crate::call::{Called, Caller};
use crate::metrics::Metrics;

/// The longest pause before its random part; doubling would soon outlast the outage by days.
const PAUSE_MAX: Duration = Duration::from_hours(1);

/// How long to wait before the next attempt after `attempts` of them; `None` if what came of the
/// last one is final. `random` from 0 to 1 lengthens the pause by up to a half, so that the tasks
/// that met one outage do not come back in step.
///
/// A service that answers with a status below 500 has understood, and would say the same again;
/// but for 408 and 429, with which it asks for a later attempt.
#[must_use]
pub fn pause(task: &Task, called: &Called, attempts: u32, random: f64) -> Option<Duration> {
    let transient = match called {
        Called::TimedOut | Called::Failed(_) => true,
        Called::Answered(answer) => answer.status >= 500 || matches!(answer.status, 408 | 429),
    };
    (transient && attempts <= task.retries).then(|| {
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
        let pause = task.retry_delay.saturating_mul(doubled).min(PAUSE_MAX);
        pause + pause.mul_f64(random.clamp(0.0, 1.0) / 2.0)
    })
}

/// Asks the service until what it says is final, always with the same `key`. Says what came of the
/// last attempt, and how many there were.
pub async fn persist(
    caller: &Caller,
    service: &Endpoint,
    task: &Task,
    key: &str,
    metrics: &Metrics,
) -> (Called, u32) {
    let mut attempts = 1;
    loop {
        let called = caller.call(service, task, key).await;
        let random = rand::rng().random_range(0.0..=1.0);
        let Some(pause) = pause(task, &called, attempts, random) else {
            return (called, attempts);
        };
        tracing::info!(task = task.id, attempts, ?called, ?pause, "asking again");
        metrics.retried(&task.id);
        tokio::time::sleep(pause).await;
        attempts += 1;
    }
}

#[cfg(test)]
mod tests;
