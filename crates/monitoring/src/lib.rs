//! Watches units and metrics and raises alerts.
//!
//! ```text
//! systemd ──D-Bus──▶ systemd ─┐
//!                             ├─▶ watch ──▶ monitor (states, alert rules) ──▶ view ──▶ api
//! services ──HTTP──▶ peer ────┘     │
//!                                   └──▶ STATUS=, journal, /metrics
//! ```
//!
//! Every cycle the one task asks systemd for the units and each service for `/ready`, `/health` and
//! `/metrics`; [`monitor`] turns the answers into states and alerts without doing I/O of its own.
//! What was not answered is absent, never a default: a service is `up`, `degraded`, `down` or
//! `unknown`, and every figure carries the time it was taken.
//!
//! Absent on purpose: notification channels and silences, starting or stopping anything, and any
//! state on disk; after a restart of this service alerts are raised anew.

pub mod api;
pub mod exposition;
pub mod metrics;
pub mod monitor;
pub mod peer;
pub mod restarts;
pub mod rules;
pub mod service;
pub mod systemd;
pub mod unit;
pub mod view;
pub mod watch;

pub use service::Monitoring;
