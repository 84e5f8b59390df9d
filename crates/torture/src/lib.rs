//! The suite under random faults, and what is left of its data afterwards.
//!
//! ```text
//! seed ─▶ schedule ─▶ striker ─┬─▶ crew: processes killed, stopped, restarted, told another time
//!                              ├─▶ site: disks filled, configuration spoilt
//!                              ├─▶ proxy: connections delayed, cut, reset, left half open
//!                              └─▶ marketprism-sim: messages dropped, doubled, held back, swapped
//!
//! alerts, duties, doors that must stay shut ─▶ witness ─┐
//! ledger, store, gateway, hot store, books, health, memory ─▶ gather ─▶ verify ─▶ report
//! ```
//!
//! [`schedule`], [`recovery`], [`gaps`], [`difference`], [`effect`], [`malformed`], [`latency`], [`market`], [`matrix`], [`verify`] and [`report`] are pure; every demand has a
//! negative control. Everything runs in namespaces of its own (see `main.rs`), so that nothing is
//! left behind. What the kernel would lose in a power cut is not lost here: processes die, the host
//! does not.

pub mod alarm;
pub mod arguments;
pub mod crew;
pub mod difference;
pub mod duty;
pub mod effect;
pub mod fault;
pub mod gaps;
pub mod gather;
pub mod latency;
pub mod load;
pub mod malformed;
pub mod market;
pub mod matrix;
pub mod poison;
pub mod probe;
pub mod proxy;
pub mod recovery;
pub mod report;
pub mod runs;
pub mod schedule;
pub mod site;
pub mod stage;
pub mod strike;
pub mod tables;
pub mod usage;
pub mod venues;
pub mod verify;
pub mod watch;
pub mod witness;
