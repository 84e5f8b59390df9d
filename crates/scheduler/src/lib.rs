//! Runs cron tasks against the other services.
//!
//! ```text
//! configuration ──▶ plan ──ticks──▶ runner ──▶ call ──HTTP──▶ service
//!                                   │    ▲
//!                        history ◀──┘    └── api (run, cancel)
//! ```
//!
//! One task owns everything that changes: it asks the tickers what is due, writes the start of a run
//! to the [`history`] and only then calls the service. Each tick is answered at most once, also
//! across `kill -9`: the tick and the start of its run are one synced transaction, and a run without
//! an end is found `interrupted` at the next start.
//!
//! Absent on purpose: retries and chains of tasks, and a second run of a task that is still running.

pub mod api;
pub mod call;
pub mod entry;
pub mod history;
pub mod metrics;
pub mod plan;
pub mod run;
pub mod runner;
pub mod service;
pub mod view;
pub mod wish;

pub use service::Scheduler;
