//! Ring 1: what is rendered, read back as systemd reads it.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed test")]

mod analyze;
mod archive;
mod committed;
mod graph;
mod parsed;
mod scripts;
