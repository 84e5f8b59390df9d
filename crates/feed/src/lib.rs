//! Frames in, events out: the one pipeline of collector, decode and replay.
//!
//! ```text
//!            ┌────────────────────── Pipeline ──────────────────────┐
//! frame ────▶ adapter ──▶ continuity (trades) ──────────────────────▶ events, each with its lanes
//!            │        └─▶ keeper (book) ◀── REST snapshot           │
//! time  ────▶             └──▶ gaps, periodic snapshots, prunes     ▶ FetchSnapshot
//!            └──────────────────────────────────────────────────────┘
//! ```
//!
//! The pipeline is sans-IO: time, frames and answers are arguments, so a recording and a live
//! connection go through the same code and come out as the same events.
//! It never connects, never encodes and never decides where an event is published; it only says on
//! which lane an event belongs.
//!
//! Trades that are missing nevertheless are fetched by their ids: see [`backfill`].

pub mod backfill;
mod continuity;
mod counts;
mod flow;
mod keeper;
mod options;
mod output;
mod pipeline;
mod points;
mod ranges;
mod recent;
mod replay;

pub use counts::Counts;
pub use flow::{Flow, implied_by};
pub use keeper::BookView;
pub use options::Options;
pub use output::{Command, Lanes, Output, REJECTS_KEPT, Rejected};
pub use pipeline::{Heard, Pipeline, Question};
pub use points::Points;
pub use ranges::IdRanges;
pub use replay::replay;
