//! Long output for a person goes through a pager, as that of git and journalctl does.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::output;

/// The pager if `PAGER` names none.
const DEFAULT: &str = "less";

/// What less does unless `LESS` says otherwise: it ends at once if all fits on the screen, keeps
/// colours, wraps no line, and leaves the text where it is.
const LESS: &str = "FRSX";

/// A pager at work. What is dropped waits until its reader has had enough.
pub(crate) struct Pager {
    child: Child,
    /// While it lives, Ctrl-C is for the pager alone; without it, it ends both.
    _interrupts: Option<Signal>,
}

impl Pager {
    /// Starts one if a person sees what is printed, and there is one; else nothing is lost but a
    /// convenience.
    pub(crate) fn start() -> Option<Self> {
        if !output::is_terminal() {
            return None;
        }
        let named = std::env::var_os("PAGER").map(|named| named.to_string_lossy().into_owned());
        // Who may run this program as root may not for that reason run any.
        let is_sudo = std::env::var_os("SUDO_UID").is_some();
        let words = words(named.as_deref().filter(|_| !is_sudo));
        let (program, arguments) = words.split_first()?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).env("LESSSECURE", "1");
        if std::env::var_os("LESS").is_none() {
            command.env("LESS", LESS);
        }
        let child = command.spawn().ok()?;
        Some(Self { child, _interrupts: signal(SignalKind::interrupt()).ok() })
    }

    /// Gives it text that has its line ends already.
    ///
    /// # Errors
    ///
    /// Its reader had enough.
    pub(crate) fn text(&mut self, text: &str) -> anyhow::Result<()> {
        let stdin = self.child.stdin.as_mut().context("the pager takes no input")?;
        Ok(stdin.write_all(text.as_bytes())?)
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // One that cannot be waited for is gone.
        drop(self.child.wait());
    }
}

/// The pager's command, word by word; none if none is wanted.
fn words(named: Option<&str>) -> Vec<&str> {
    let words: Vec<&str> = named.unwrap_or(DEFAULT).split_whitespace().collect();
    if words == ["cat"] { Vec::new() } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pager_is_that_of_the_environment() {
        assert_eq!(words(None), ["less"]);
        assert_eq!(words(Some("most -w")), ["most", "-w"]);
        for none in ["", " ", "cat"] {
            assert_eq!(words(Some(none)), [""; 0], "{none:?}");
        }
    }
}
