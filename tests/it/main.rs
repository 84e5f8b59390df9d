//! Ring 4: the whole suite in a booted Debian machine, fed by the simulated venue.
//!
//! Every test boots a machine of its own, installs the suite as its packages would, and talks to it
//! as an operator does: `systemctl`, `curl`, `marketprism`. Needs root and the programs built into
//! the folder this test was built into (`cargo build --workspace --bins`).

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

mod alerts;
mod faults;
mod first_light;
mod fixture;
mod hosts;
mod install;
mod lintian;
mod markets;
mod operations;
mod pair;
mod releases;
mod tamper;
mod torture;
mod units;
mod upgrade;
mod urls;
