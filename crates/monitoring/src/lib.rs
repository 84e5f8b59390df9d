//! Watches units and metrics and raises alerts.
//!
//! ```text
//! systemd ──D-Bus──▶ systemd ─┐
//! services ──HTTP──▶ peer ────┼─▶ watch ──▶ monitor (states, alert rules) ──▶ view ──▶ api
//! disks, certificates ▶ host ─┘     │          │
//!                                   │          └─▶ alerting (silences, inhibition, groups)
//!                                   │                     └─▶ teller ──▶ channels
//!                                   └──▶ STATUS=, journal, /metrics, alerts.json
//! ```
//!
//! Every cycle the task `watch` asks systemd for the units and each service for `/ready`, `/health`
//! and `/metrics`; [`monitor`] turns the answers into states and alerts without doing I/O of its own.
//! What was not answered is absent, never a default: a service is `up`, `degraded`, `down` or
//! `unknown`, and every figure carries the time it was taken.
//! States of alerts and silences are in one file, so that a restart raises nothing anew.
//!
//! Absent on purpose: starting or stopping anything.

pub mod alerting;
pub mod api;
pub mod auditor;
pub mod completeness;
pub mod exporter;
pub mod exposition;
pub mod host;
pub mod metrics;
pub mod monitor;
pub mod peer;
pub mod plan;
pub mod pressure;
pub mod request;
pub mod restarts;
pub mod rules;
pub mod runbook;
pub mod service;
pub mod state;
pub mod systemd;
pub mod teller;
pub mod unit;
pub mod view;
pub mod watch;
pub mod watchdog;

pub use service::Monitoring;
