//! Ring 3: a real history; the services are asked in the runner's tests.

use super::*;
use crate::run::{Reason, Skipped, State, Trigger};

fn run(task: &str, state: State, started_at: i64) -> Run {
    let skipped = Skipped { reason: Reason::Late, first: 1, last: 3, count: 3 };
    Run {
        run: 0,
        task: task.into(),
        trigger: Trigger::Schedule,
        tick: None,
        state,
        started_at,
        finished_at: None,
        duration_ns: None,
        request: None,
        attempts: None,
        answer: None,
        error: None,
        skipped: (state == State::Skipped).then_some(skipped),
    }
}

#[test]
fn runs_since_then_are_counted_by_their_end() {
    let directory = tempfile::tempdir().unwrap();
    let (history, _) = History::open(&directory.path().join("history.redb")).unwrap();
    for (task, state, at) in [
        ("a", State::Failed, 99),
        ("a", State::Succeeded, 100),
        ("a", State::Succeeded, 101),
        ("b", State::Skipped, 102),
        ("b", State::TimedOut, 103),
    ] {
        history.begin(task, None, vec![run(task, state, at)]).unwrap();
    }
    let tasks = counted(&history, 100).unwrap();
    let expected = BTreeMap::from([
        ("a".to_owned(), BTreeMap::from([("succeeded", 2)])),
        ("b".to_owned(), BTreeMap::from([("skipped", 3), ("timed_out", 1)])),
    ]);
    assert_eq!(tasks, expected);
    let report = Report { since: 100, tasks, services: BTreeMap::new() };
    assert_eq!(report.troubles(), 4);
}

#[test]
fn more_than_a_page_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (history, _) = History::open(&directory.path().join("history.redb")).unwrap();
    for task in ["a", "b", "c"] {
        history.begin(task, None, vec![run(task, State::Succeeded, 7); 900]).unwrap();
    }
    let tasks = counted(&history, 0).unwrap();
    assert_eq!(tasks.values().map(|counts| counts["succeeded"]).collect::<Vec<_>>(), [900; 3]);
}
