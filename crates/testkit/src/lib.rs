//! Real servers and booted machines for tests.
//!
//! [`machine`] boots Debian with a real systemd, [`packages`] installs the suite in it,
//! [`market`] feeds it and compares; [`suite`] runs it as processes of this host, and [`browser`]
//! looks at it; [`nats`], [`clickhouse`] and [`redis`] start servers,
//! [`python`] and [`debian`] have the tools of others.
//! Everything here starts what it needs itself, on loopback and on [`ports`] that nobody else gets,
//! waits for conditions and not for time, and removes what it started when the value is dropped.
//! Nothing here is a mock.

pub mod browser;
pub mod clickhouse;
pub mod debian;
pub mod machine;
pub mod market;
pub mod nats;
pub mod packages;
pub mod ports;
mod process;
pub mod python;
pub mod redis;
pub mod suite;

use std::io::Write as _;
use std::sync::LazyLock;
use std::time::Instant;

/// Says on stderr what takes its time, with the seconds since the process first said something.
pub fn progress(what: std::fmt::Arguments<'_>) {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let elapsed = BEGAN.elapsed().as_secs_f64();
    // Progress that cannot be shown is no reason to fail.
    writeln!(std::io::stderr(), "[{elapsed:7.1}s] {what}").unwrap_or_default();
}
