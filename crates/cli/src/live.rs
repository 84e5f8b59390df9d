//! What is drawn again and again until the operator has enough.

use std::time::Duration;

use anyhow::Context as _;
use terminal_size::{Height, terminal_size};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::output;

/// Reads a number of seconds, for the command line.
///
/// # Errors
///
/// If it is no number of seconds from 1 on.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let length = text.parse().ok().map(Duration::from_secs).or_else(|| {
        // `2s` is as good as `2`.
        settings::duration::parse(text)
    });
    length
        .filter(|length| *length >= Duration::from_millis(100))
        .ok_or_else(|| format!("`{text}` is no interval such as `2` or `500ms`"))
}

/// The operator's Ctrl-C, which ends what is under way and is no failure.
pub(crate) struct Interrupt(Signal);

impl Interrupt {
    /// From here on Ctrl-C no longer ends the process by itself.
    ///
    /// # Errors
    ///
    /// If the process cannot take signals.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?))
    }

    /// Waits for the work; `None` if Ctrl-C came first.
    pub(crate) async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            _ = self.0.recv() => None,
            done = work => Some(done),
        }
    }
}

/// Where the same is drawn anew: on a terminal over itself, elsewhere one below the other.
pub(crate) struct Screen {
    drawn: bool,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { drawn: false }
    }

    /// Draws a text.
    ///
    /// # Errors
    ///
    /// If stdout cannot be written.
    pub(crate) fn show(&mut self, text: &str) -> anyhow::Result<()> {
        let first = !std::mem::replace(&mut self.drawn, true);
        if output::is_terminal() {
            let height = terminal_size().map(|(_, Height(rows))| usize::from(rows));
            output::text(&redrawn(text, first, height))
        } else {
            let gap = if first { "" } else { "\n" };
            output::text(&format!("{gap}{text}\n"))
        }
    }
}

/// The text with what a terminal needs to draw it over the one before; lines that have no room are
/// left out, for they would push the others away.
///
/// Source: ECMA-48, ED (`J`), EL (`K`) and CUP (`H`).
fn redrawn(text: &str, first: bool, height: Option<usize>) -> String {
    let mut drawn = String::from(if first { "\x1b[2J\x1b[H" } else { "\x1b[H" });
    // The cursor needs the last line.
    let room = height.map_or(usize::MAX, |height| height.saturating_sub(1).max(1));
    for line in text.lines().take(room) {
        drawn.push_str(line);
        drawn.push_str("\x1b[K\n");
    }
    drawn.push_str("\x1b[J");
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_drawn_over_and_never_scrolls() {
        assert_eq!(redrawn("a\nb", true, None), "\x1b[2J\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(redrawn("a\nb\nc", false, Some(3)), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(redrawn("", false, Some(0)), "\x1b[H\x1b[J");
    }

    #[test]
    fn an_interval_is_seconds_or_has_a_unit() {
        for (text, expected) in [("2", Some(2_000)), ("500ms", Some(500)), ("1m", Some(60_000))] {
            assert_eq!(interval(text).ok(), expected.map(Duration::from_millis), "{text}");
        }
        for text in ["0", "1ms", "-1", "fast", ""] {
            assert!(interval(text).unwrap_err().contains("no interval"), "{text}");
        }
    }

    #[tokio::test]
    async fn work_that_is_done_is_not_interrupted() {
        let mut interrupt = Interrupt::new().unwrap();
        assert_eq!(interrupt.or(async { 7 }).await, Some(7));
    }
}
