//! The description of the interface.

use std::collections::BTreeSet;

use expect_test::expect_file;
use serde_json::{Value, json};
use settings::Task;

use crate::Scheduler;

#[test]
fn the_description_is_in_order_and_as_it_is_checked_in() {
    let document = daemon::describe::<Scheduler>();
    assert_eq!(document.faults(), Vec::<String>::new());
    expect_file!["../../openapi.json"].assert_eq(&document.text());
}

#[test]
fn a_task_is_described_with_the_members_that_it_is_read_with() {
    let task = json!({"id": "x", "schedule": "@every 1h", "service": "storage", "path": "/x"});
    let task: Task = serde_json::from_value(task).unwrap();
    let written = serde_json::to_value(task).unwrap();
    let written: BTreeSet<&String> = written.as_object().unwrap().keys().collect();
    let document: Value = serde_json::from_str(&daemon::describe::<Scheduler>().text()).unwrap();
    for name in ["SchedulerNewTask", "SchedulerReplacement"] {
        let described = document["components"]["schemas"][name]["properties"].as_object().unwrap();
        assert_eq!(described.keys().collect::<BTreeSet<_>>(), written, "{name}");
    }
}
