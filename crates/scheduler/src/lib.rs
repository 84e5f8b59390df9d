//! Runs cron tasks against the other services.
//!
//! ```text
//! configuration ──▶ plan ──ticks──▶ runner ──▶ call ──HTTP──▶ service
//!                                   │    ▲
//!                        history ◀──┘    └── api (run, cancel, pause, resume)
//! ```
//!
//! One task owns everything that changes: it asks the tickers what is due, writes the start of a run
//! to the [`history`] and only then calls the service. Each tick is answered at most once, also
//! across `kill -9`: the tick and the start of its run are one synced transaction, and a run without
//! an end is found `interrupted` at the next start.
//!
//! Tasks come from the configuration, and from requests; those are kept in the file of the history.
//! An attempt that may go otherwise later is repeated within the run ([`retry`]).
//!
//! Of several schedulers that hold one another's place, only the one with the lease acts
//! ([`standing`]), and each tick is claimed before it is answered ([`ticks`]). What people wish of
//! tasks they keep where all of them find it ([`shared`]).
//!
//! Two things that no other service has it does itself when asked over HTTP, so that they can be
//! tasks as well: a [`backup`] of the configuration, and the daily [`report`].
//!
//! Absent on purpose: chains of tasks, and a second run of a task that is still running.

pub mod api;
pub mod backup;
pub mod call;
pub mod entry;
pub mod history;
pub mod metrics;
pub mod plan;
pub mod report;
pub mod retry;
pub mod run;
pub mod runner;
pub mod service;
pub mod shared;
pub mod standing;
pub mod ticks;
pub mod timers;
pub mod view;
pub mod wish;

pub use service::Scheduler;
