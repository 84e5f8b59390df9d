//! How long a unit waited for processor, memory and disk: the kernel's pressure stall information.
//!
//! ```text
//! some avg10=0.00 avg60=0.12 avg300=0.05 total=173456
//! full avg10=0.00 avg60=0.00 avg300=0.01 total=98112
//! ```
//!
//! Averages are percents of the time, and the totals are microseconds. A kernel without it, or one
//! in which it is switched off, has no such files, and before 5.13 those of the processor have no
//! `full`: what is not there is absent.
//!
//! Source: <https://docs.kernel.org/accounting/psi.html>.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::Serialize;
use telemetry::Chain;
use utoipa::ToSchema;

use crate::unit::Unit;

/// Where the control groups are.
pub const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// How long a unit waited, by what it waited for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = UnitPressures)]
pub struct Pressures {
    /// For the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Pressure>,
    /// For memory, which has to be read back or freed first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Pressure>,
    /// For disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io: Option<Pressure>,
}

/// How long a unit waited for one thing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = UnitPressure)]
pub struct Pressure {
    /// While at least one of its threads waited.
    pub some: Stall,
    /// While all of its threads waited that had something to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<Stall>,
}

/// How long it waited.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = UnitStall)]
pub struct Stall {
    /// Of the last ten seconds.
    pub avg10_percent: f64,
    /// Of the last minute.
    pub avg60_percent: f64,
    /// Of the last five minutes.
    pub avg300_percent: f64,
    /// Since the unit was started.
    pub total_ns: u64,
}

/// Why a text is no pressure stall information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// There is no line that begins with `some`.
    #[error("there is no line `some`")]
    NoSome,
    /// A line lacks a number, or has a word in its place.
    #[error("line {line} lacks the number `{name}`")]
    NoNumber {
        /// The line, from 1.
        line: usize,
        /// The number's name.
        name: &'static str,
    },
}

/// Why the pressure of a unit is not known.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file is there and cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be understood.
    #[error("cannot understand {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ParseError,
    },
}

impl Pressures {
    /// Each that is known, with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Pressure)> {
        let all = [("cpu", self.cpu), ("memory", self.memory), ("io", self.io)];
        all.into_iter().filter_map(|(name, pressure)| Some((name, pressure?)))
    }
}

/// Reads the text of one file. Lines and numbers that are not known are left for later kernels.
///
/// # Errors
///
/// [`ParseError`].
pub fn parse(text: &str) -> Result<Pressure, ParseError> {
    let (mut some, mut full) = (None, None);
    for (number, line) in (1..).zip(text.lines()) {
        match line.split_once(' ') {
            Some(("some", rest)) => some = Some(stall(number, rest)?),
            Some(("full", rest)) => full = Some(stall(number, rest)?),
            Some((_, _)) | None => {}
        }
    }
    Ok(Pressure { some: some.ok_or(ParseError::NoSome)?, full })
}

fn stall(line: usize, text: &str) -> Result<Stall, ParseError> {
    let value = |name: &'static str| {
        text.split_whitespace()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
            .ok_or(ParseError::NoNumber { line, name })
    };
    let percent = |name: &'static str| {
        let percent = value(name)?.parse::<f64>().ok().filter(|percent| percent.is_finite());
        percent.ok_or(ParseError::NoNumber { line, name })
    };
    let micros = value("total")?.parse::<u64>();
    let micros = micros.map_err(|_| ParseError::NoNumber { line, name: "total" })?;
    Ok(Stall {
        avg10_percent: percent("avg10")?,
        avg60_percent: percent("avg60")?,
        avg300_percent: percent("avg300")?,
        total_ns: micros.saturating_mul(1_000),
    })
}

/// Reads what there is of a control group, below the directory of all groups; blocks.
///
/// # Errors
///
/// [`ReadError`] if a file is there and of no use.
pub fn read(groups: &Path, group: &str) -> Result<Pressures, ReadError> {
    let directory = groups.join(group.trim_start_matches('/'));
    Ok(Pressures {
        cpu: file(&directory, "cpu.pressure")?,
        memory: file(&directory, "memory.pressure")?,
        io: file(&directory, "io.pressure")?,
    })
}

fn file(directory: &Path, name: &str) -> Result<Option<Pressure>, ReadError> {
    let path = directory.join(name);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if is_absence(&error) => return Ok(None),
        Err(source) => return Err(ReadError::Read { path, source }),
    };
    match parse(&text) {
        Ok(pressure) => Ok(Some(pressure)),
        Err(source) => Err(ReadError::Parse { path, source }),
    }
}

/// Whether there is no file, or one of a kernel in which it is switched off, or of a group that has
/// just gone.
fn is_absence(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    error.kind() == io::ErrorKind::NotFound
        || [Errno::EOPNOTSUPP, Errno::ENODEV].iter().any(|&errno| code == Some(errno as i32))
}

/// Adds its pressure to a unit, or why that is not known; blocks.
#[must_use]
pub fn with_pressure(unit: Unit, groups: &Path) -> Unit {
    let Some(group) = &unit.control_group else { return unit };
    match read(groups, group) {
        Ok(pressure) => {
            let pressure = (pressure != Pressures::default()).then_some(pressure);
            Unit { pressure, ..unit }
        }
        Err(error) => Unit { pressure_error: Some(Chain(&error).to_string()), ..unit },
    }
}

#[cfg(test)]
mod tests;
