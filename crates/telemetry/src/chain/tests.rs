//! Ring 1.

use std::io;

use super::Chain;

#[derive(Debug, thiserror::Error)]
#[error("cannot open the spool")]
struct Opening(#[source] io::Error);

#[derive(Debug, thiserror::Error)]
#[error("cannot publish: {0}")]
struct Repeating(#[source] io::Error);

#[test]
fn causes_follow_the_error() {
    let error = Opening(io::Error::other("disk full"));
    assert_eq!(Chain(&error).to_string(), "cannot open the spool: disk full");
}

#[test]
fn a_cause_that_was_said_is_not_repeated() {
    let error = Repeating(io::Error::other("disk full"));
    assert_eq!(Chain(&error).to_string(), "cannot publish: disk full");
}
