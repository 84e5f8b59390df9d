//! How results are printed.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, Color, ContentArrangement, Table};
use serde::Serialize;

/// How often progress is reported on a terminal, and elsewhere.
const PACE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Prints a line of data.
///
/// # Errors
///
/// If stdout cannot be written; the same for the other functions here.
pub(crate) fn line(text: impl Display) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Takes text that is to be printed, such as [`text`].
pub(crate) type Print<'a> = &'a mut dyn FnMut(&str) -> anyhow::Result<()>;

/// Prints text that has its line ends already.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    raw(text.as_bytes())
}

/// Writes data for a program.
pub(crate) fn raw(data: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(data)?;
    Ok(stdout.flush()?)
}

/// Whether a person sees what is printed.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Says on a terminal, beside the data, how far long work is.
pub(crate) struct Progress {
    is_wanted: bool,
    is_shown: bool,
    told_at: Option<Instant>,
}

impl Progress {
    /// Shows nothing unless it is wanted and stderr is a terminal.
    pub(crate) fn new(is_wanted: bool) -> Self {
        let is_wanted = is_wanted && io::stderr().is_terminal();
        Self { is_wanted, is_shown: false, told_at: None }
    }

    /// Puts a text in the place of one that stood there long enough to be read: for steps of which
    /// there are thousands a second.
    pub(crate) fn tell(&mut self, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        if !self.is_wanted || self.told_at.is_some_and(|at| at.elapsed() < PACE.0) {
            return Ok(());
        }
        self.told_at = Some(Instant::now());
        self.show(&text())
    }

    /// Puts a text in the place of the one before.
    pub(crate) fn show(&mut self, text: &str) -> anyhow::Result<()> {
        if self.is_wanted {
            self.is_shown = true;
            let mut stderr = io::stderr().lock();
            write!(stderr, "\r{text}\x1b[K")?;
            stderr.flush()?;
        }
        Ok(())
    }

    /// Leaves the line empty, for what comes next.
    pub(crate) fn end(&mut self) -> anyhow::Result<()> {
        if self.is_shown {
            self.is_shown = false;
            let mut stderr = io::stderr().lock();
            write!(stderr, "\r\x1b[K")?;
            stderr.flush()?;
        }
        Ok(())
    }
}

/// Prints a line for a person, beside the data.
pub(crate) fn remark(text: impl Display) -> anyhow::Result<()> {
    Ok(writeln!(io::stderr().lock(), "{text}")?)
}

/// An error with its causes in one line; a cause that the text before it repeats is left out.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Prints one document.
pub(crate) fn json(document: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(document)?)
}

/// Prints a table.
pub(crate) fn table(table: Table) -> anyhow::Result<()> {
    line(render(table))
}

/// Lays a table out; it begins at the left margin.
pub(crate) fn render(mut table: Table) -> String {
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    table.trim_fmt()
}

/// Starts a table without borders; lines are wrapped only on a terminal.
pub(crate) fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    if is_plain() {
        table.force_no_tty();
    } else {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(header);
    table
}

/// A cell that says by its colour whether its content is good.
pub(crate) fn judged(text: impl ToString, is_good: bool) -> Cell {
    let cell = Cell::new(text);
    if is_plain() { cell } else { cell.fg(if is_good { Color::Green } else { Color::Red }) }
}

/// Whether to print without colour: into files and pipes, and for those who asked (no-color.org).
fn is_plain() -> bool {
    let asked = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    asked || !io::stdout().is_terminal()
}

/// Says on stderr how far the work is: in place on a terminal, now and then elsewhere.
pub(crate) struct Meter {
    is_terminal: bool,
    shown_at: Instant,
    has_shown: bool,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self { is_terminal, shown_at: Instant::now(), has_shown: false }
    }

    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        let pace = if self.is_terminal { PACE.0 } else { PACE.1 };
        if self.shown_at.elapsed() < pace {
            return;
        }
        (self.shown_at, self.has_shown) = (Instant::now(), true);
        let end = if self.is_terminal { "\x1b[K\r" } else { "\n" };
        // Progress that cannot be shown must not end the work.
        write!(io::stderr(), "{}{end}", text()).ok();
    }

    pub(crate) fn end(&self) {
        if self.is_terminal && self.has_shown {
            write!(io::stderr(), "\x1b[K").ok();
        }
    }
}

/// A number of bytes in the largest unit that leaves at least 1.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut tenths, mut unit) = (count.saturating_mul(10), "B");
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1_024;
        unit = next;
    }
    if unit == "B" {
        format!("{count} B")
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// A length of time in its two largest units.
pub(crate) fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_at_a_pace_that_can_be_read_and_only_if_it_is_wanted() {
        let mut told = 0;
        let mut count = |progress: &mut Progress| {
            let text = || {
                told += 1;
                String::new()
            };
            progress.tell(text).unwrap();
            told
        };
        let mut progress = Progress { is_wanted: false, is_shown: false, told_at: None };
        assert_eq!(count(&mut progress), 0);
        progress.is_wanted = true;
        assert_eq!(count(&mut progress), 1);
        // As if no time had passed.
        progress.told_at = Some(Instant::now() + Duration::from_hours(1));
        assert_eq!(count(&mut progress), 1);
        progress.told_at = Instant::now().checked_sub(PACE.0);
        assert_eq!(count(&mut progress), 2);
        progress.end().unwrap();
    }

    #[test]
    fn sizes_and_ages_are_short() {
        for (count, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (7 << 20, "7.0 MiB"),
            (7_234_567, "6.8 MiB"),
            (u64::MAX / 16, "1024.0 TiB"),
        ] {
            assert!(bytes(count) == text || count > 1 << 40, "{count}: {}", bytes(count));
        }
        for (seconds, text) in [(5, "5s"), (65, "1m 5s"), (7_300, "2h 1m"), (90_000, "1d 1h")] {
            assert_eq!(age(seconds), text);
        }
    }
}
