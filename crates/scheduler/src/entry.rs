//! From plans, ticks and calls to entries of the history. Pure.

use std::time::Duration;

use cadence::Command;
use units::UnixNanos;

use crate::call::{Called, method_name};
use crate::plan::Plan;
use crate::run::{Reason, Run, Skipped, State, Trigger};

/// A run of a plan's task that is about to start; it gets its number from the history.
#[must_use]
pub fn start(plan: &Plan, trigger: Trigger, now: UnixNanos) -> Run {
    let task = &plan.task;
    Run {
        run: 0,
        task: task.id.clone(),
        trigger,
        tick: None,
        state: State::Running,
        started_at: now.as_i64(),
        finished_at: None,
        duration_ns: None,
        request: Some(format!("{} {} {}", method_name(task.method), task.service, task.path)),
        attempts: None,
        answer: None,
        error: None,
        skipped: None,
    }
}

/// What a command of the ticker becomes; while a run is `open`, a tick is skipped.
#[must_use]
pub fn answer(plan: &Plan, command: &Command, open: bool, now: UnixNanos) -> Run {
    let skipped = |reason, first: UnixNanos, last: UnixNanos, count| Run {
        state: State::Skipped,
        finished_at: Some(now.as_i64()),
        request: None,
        skipped: Some(Skipped { reason, first: first.as_i64(), last: last.as_i64(), count }),
        ..start(plan, Trigger::Schedule, now)
    };
    match *command {
        Command::Skip { first, last, count } => skipped(Reason::Late, first, last, count),
        Command::Run { tick, .. } if open => skipped(Reason::Overlap, tick, tick, 1),
        Command::Run { tick, .. } => {
            Run { tick: Some(tick.as_i64()), ..start(plan, Trigger::Schedule, now) }
        }
    }
}

/// A tick that was claimed, and whose run was cut before it began.
#[must_use]
pub fn cut(plan: &Plan, tick: i64, now: UnixNanos) -> Run {
    Run {
        tick: Some(tick),
        state: State::Interrupted,
        finished_at: Some(now.as_i64()),
        error: Some("the scheduler ended before it asked the service".to_owned()),
        ..start(plan, Trigger::Schedule, now)
    }
}

/// A run that `took` so long, with what came of its last call, and how many there were; `None` if it
/// was cancelled. Only a status from 200 to 299 is a success.
#[must_use]
pub fn end(run: Run, called: Option<(Called, u32)>, took: Duration, now: i64) -> Run {
    let (called, attempts) = called.unzip();
    let (state, answer, error) = match called {
        None => (State::Cancelled, None, None),
        Some(Called::TimedOut) => (State::TimedOut, None, None),
        Some(Called::Failed(error)) => (State::Failed, None, Some(error)),
        Some(Called::Answered(answer)) if (200..300).contains(&answer.status) => {
            (State::Succeeded, Some(answer), None)
        }
        Some(Called::Answered(answer)) => (State::Failed, Some(answer), None),
    };
    let duration_ns = Some(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    Run { state, finished_at: Some(now), duration_ns, attempts, answer, error, ..run }
}
