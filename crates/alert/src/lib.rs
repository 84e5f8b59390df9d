//! Alert rules as a state machine. Sans-IO: no socket, no clock.
//!
//! ```text
//! samples ──▶ condition ──▶ inactive ─▶ pending ─▶ firing ─▶ resolved
//!                              ▲          │  (`for`)             │
//!                              └──────────┘◀─────────────────────┘
//! ```
//!
//! A [`Rule`] says what is wrong, how long it must stay wrong and how bad it is; the [`Engine`] keeps
//! one state per rule and label set and reports every change as a [`Transition`].
//! Missing data is a state of its own: it neither raises an alert nor ends one, see [`Data`].
//!
//! What fires is then held against [`Silences`] and [`Inhibition`]s, and [`Groups`] say whom to tell
//! what and when.
//!
//! Absent on purpose: what a message looks like, how it is sent, and files.

mod engine;
mod group;
mod inhibit;
mod matcher;
mod rule;
mod silence;

pub use engine::{Alert, Change, Data, Engine, RuleStatus, SavedSeries, State, Transition};
pub use group::{
    Active, Due, GroupState, Groups, Outcome, Pace, Route, SavedGroup, Suppression, fingerprint,
};
pub use inhibit::{Inhibition, inhibitor};
pub use matcher::{Matcher, MatcherError, Operator, all_match};
pub use rule::{
    Comparison, Condition, Labels, Quantity, Rule, Sample, Severity, Template, TemplateError,
};
pub use silence::{KEPT_AFTER, Silence, SilenceError, SilenceState, Silences};
