//! Ring 1.

use super::{Line, STATUS_MAX, one_line};

#[test]
fn a_status_cannot_smuggle_another_assignment() {
    assert_eq!(one_line("3/3 feeds\nWATCHDOG=trigger\0"), "3/3 feeds WATCHDOG=trigger ");
}

#[test]
fn a_long_status_is_cut_between_characters() {
    let line = one_line(&"é".repeat(STATUS_MAX + 1));
    assert_eq!(line.chars().count(), STATUS_MAX + 1);
    assert!(line.ends_with('…'));
}

#[test]
fn a_note_follows_what_the_service_says() {
    let mut line = Line { text: "idle".to_owned(), note: Some("n".to_owned()), ..Line::default() };
    assert_eq!(line.shown(), "idle; n");
    line.text.clear();
    assert_eq!(line.shown(), "n");
}
