//! Ring 1: the table.

use super::{Cell, Named, Report, Row};
use crate::answer::{Measured, Task};

fn cell(levels: Option<u64>, events: u64, nanos: &[u64]) -> Cell {
    let mut cell = Cell::default();
    for nanos in nanos {
        cell.add(Measured { frames: 100, events, levels, nanos: *nanos });
    }
    cell
}

fn row(task: Task, cells: Vec<Cell>) -> Row {
    let mut row = Row { task, case: "okx-books", bytes: 863, goal: Some(2_000), cells };
    row.judge();
    row
}

#[test]
fn the_median_of_the_rounds_is_shared_out_and_compared_with_ours() {
    let ours = cell(Some(1_000), 100, &[50_000, 900_000, 40_000]);
    let peer = cell(Some(1_000), 100, &[500_000]);
    let report = Report {
        core: 1,
        rounds: 3,
        programs: vec![
            Named { name: "ours", version: "1", skipped: None },
            Named { name: "peer", version: "2", skipped: None },
            Named { name: "away", version: "3", skipped: Some("there is no npm".to_owned()) },
        ],
        rows: vec![row(Task::Decode, vec![ours, peer, Cell::default()])],
    };
    let text = report.to_string();
    let line = text.lines().find(|line| line.starts_with("okx-books")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words, ["okx-books", "863", "2.00", "0.50", "5.00", "(10.0x)", "-"]);
    assert!(text.contains("away 3: skipped, there is no npm\n"), "{text}");
}

#[test]
fn levels_share_the_time_where_they_are_applied() {
    let row = row(Task::Apply, vec![cell(Some(1_000), 100, &[25_000])]);
    assert_eq!(row.each(&row.cells[0]), Some(25.0));
}

#[test]
fn whoever_passes_over_frames_has_no_figure() {
    let ours = || cell(Some(1_000), 100, &[50_000]);
    let of = |peer: Cell| row(Task::Decode, vec![ours(), peer]).cells.remove(1).failed;
    assert_eq!(of(cell(Some(990), 100, &[1])), None);
    assert_eq!(of(cell(Some(980), 100, &[1])).as_deref(), Some("it found 980 levels of 1000"));
    assert_eq!(of(cell(None, 99, &[1])), None);
    assert_eq!(of(cell(None, 0, &[1])).as_deref(), Some("it found 0 events of 100"));
}
