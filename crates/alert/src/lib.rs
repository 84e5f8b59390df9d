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
//! Absent on purpose: notification channels, silences, grouping, and any way to write state down.

mod engine;
mod rule;

pub use engine::{Alert, Change, Data, Engine, RuleStatus, State, Transition};
pub use rule::{
    Comparison, Condition, Labels, Quantity, Rule, Sample, Severity, Template, TemplateError,
};
