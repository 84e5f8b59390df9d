//! Schedules, next fire times and what happens to a tick that was missed.
//!
//! ```text
//! text + zone ──▶ Schedule ──▶ Ticker ──▶ Run(tick) | Skip(ticks)
//!                                 ▲
//!                                now
//! ```
//!
//! A [`Schedule`] is a refused-or-understood expression, see [`ParseError`]; a [`Ticker`] turns it and
//! the time into commands, each tick at most once. Sans-IO: the time and the time zone come in as
//! arguments, nothing here reads a clock or the zone database.
//!
//! Absent on purpose: overlap and retries, which belong to who runs the task.

mod schedule;
mod ticker;

pub use schedule::{ParseError, Reason, Schedule};
pub use ticker::{AHEAD_MAX, CatchUp, Command, MISSED_MAX, Policy, Ticker};
