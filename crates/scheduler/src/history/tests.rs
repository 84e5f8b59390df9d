//! Ring 3: a real file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;
use settings::Task;
use tempfile::TempDir;

use super::{Answered, History, RUNS_KEPT};
use crate::run::{Run, State, Trigger};

fn run(task: &str, state: State) -> Run {
    Run {
        run: 0,
        task: task.into(),
        trigger: Trigger::Schedule,
        tick: Some(60),
        state,
        started_at: 61,
        finished_at: None,
        duration_ns: None,
        request: None,
        attempts: None,
        answer: None,
        error: None,
        skipped: None,
    }
}

fn file() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.redb");
    (directory, path)
}

fn answered(tick: i64) -> Answered {
    Answered { schedule: "@daily UTC".into(), tick }
}

fn numbers(history: &History, task: Option<&str>, before: u64, limit: usize) -> Vec<u64> {
    history.list(task, before, limit).unwrap().iter().map(|run| run.run).collect()
}

#[test]
fn a_run_and_its_end_survive_a_restart() {
    let (_directory, path) = file();
    let (history, interrupted) = History::open(&path).unwrap();
    assert_eq!(interrupted, []);
    let begun = history.begin("a", Some(&answered(60)), vec![run("a", State::Running)]).unwrap();
    let ended = Run { state: State::Succeeded, finished_at: Some(62), ..begun[0].clone() };
    history.finish(&ended).unwrap();
    drop(history);

    let (history, interrupted) = History::open(&path).unwrap();
    assert_eq!(interrupted, []);
    assert_eq!(history.list(None, u64::MAX, 10).unwrap(), [ended]);
    assert_eq!(history.answered("a").unwrap(), Some(answered(60)));
}

#[test]
fn a_run_without_an_end_is_interrupted_once() {
    let (_directory, path) = file();
    let (history, _) = History::open(&path).unwrap();
    history.begin("a", Some(&answered(60)), vec![run("a", State::Running)]).unwrap();
    drop(history);

    let (history, interrupted) = History::open(&path).unwrap();
    assert_eq!(interrupted.len(), 1);
    assert_eq!(interrupted[0].state, State::Interrupted);
    assert_eq!(history.list(Some("a"), u64::MAX, 10).unwrap(), interrupted);
    drop(history);
    let (_, interrupted) = History::open(&path).unwrap();
    assert_eq!(interrupted, []);
}

#[test]
fn pages_go_from_new_to_old_and_do_not_move_while_runs_arrive() {
    let (_directory, path) = file();
    let (history, _) = History::open(&path).unwrap();
    for task in ["a", "b", "a", "b", "a"] {
        history.begin(task, None, vec![run(task, State::Skipped)]).unwrap();
    }
    assert_eq!(numbers(&history, None, u64::MAX, 2), [5, 4]);
    history.begin("b", None, vec![run("b", State::Skipped)]).unwrap();
    assert_eq!(numbers(&history, None, 4, 2), [3, 2]);
    assert_eq!(numbers(&history, Some("a"), u64::MAX, 2), [5, 3]);
    assert_eq!(numbers(&history, Some("a"), 3, 2), [1]);
    assert_eq!(numbers(&history, Some("c"), u64::MAX, 2), Vec::<u64>::new());
}

#[test]
fn a_task_keeps_its_last_thousand_and_leaves_the_others_alone() {
    let (_directory, path) = file();
    let (history, _) = History::open(&path).unwrap();
    history.begin("other", None, vec![run("other", State::Skipped)]).unwrap();
    let many = vec![run("a", State::Skipped); RUNS_KEPT + 5];
    history.begin("a", None, many).unwrap();
    let kept = numbers(&history, Some("a"), u64::MAX, usize::MAX);
    assert_eq!((kept.len(), kept[0], kept[RUNS_KEPT - 1]), (RUNS_KEPT, 1_006, 7));
    assert_eq!(numbers(&history, Some("other"), u64::MAX, 10), [1]);
    assert_eq!(numbers(&history, None, u64::MAX, usize::MAX).len(), RUNS_KEPT + 1);
}

#[test]
fn a_number_is_never_used_twice() {
    let (_directory, path) = file();
    let (history, _) = History::open(&path).unwrap();
    history.begin("a", None, vec![run("a", State::Skipped); 3]).unwrap();
    history.probe().unwrap();
    drop(history);
    let (history, _) = History::open(&path).unwrap();
    let begun = history.begin("a", None, vec![run("a", State::Skipped)]).unwrap();
    assert_eq!(begun[0].run, 4);
}

#[test]
fn a_released_task_owes_nothing() {
    let (_directory, path) = file();
    let (history, _) = History::open(&path).unwrap();
    history.begin("a", Some(&answered(60)), Vec::new()).unwrap();
    history.release("a").unwrap();
    assert_eq!(history.answered("a").unwrap(), None);
}

#[test]
fn what_another_scheduler_keeps_is_adopted_as_a_whole() {
    let (_directory, path) = file();
    let (history, _) = History::open(&path).unwrap();
    let task = |id: &str| -> Task {
        let task = json!({"id": id, "schedule": "@daily", "service": "storage", "path": "/x"});
        serde_json::from_value(task).unwrap()
    };
    for id in ["gone", "stays", "paused"] {
        history.keep_task(&task(id)).unwrap();
        history.begin(id, Some(&answered(60)), Vec::new()).unwrap();
    }
    history.pause("resumed", 1).unwrap();
    let kept = [task("new"), task("paused"), task("stays")];
    let paused = BTreeMap::from([("paused".to_owned(), 5)]);
    history.adopt(&kept, &paused).unwrap();
    assert_eq!(history.tasks().unwrap(), kept);
    assert_eq!(history.paused().unwrap(), paused);
    assert_eq!(history.answered("stays").unwrap(), Some(answered(60)));
    for id in ["gone", "paused"] {
        assert_eq!(history.answered(id).unwrap(), None, "{id}");
    }
}

#[test]
fn a_file_that_is_no_history_is_refused() {
    let (_directory, path) = file();
    std::fs::write(&path, "not a database").unwrap();
    let error = History::open(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot open the history {}", path.display()));
    assert_eq!(std::fs::read(&path).unwrap(), b"not a database");
}
