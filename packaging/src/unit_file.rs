//! The text form of a unit: sections of `Key=value` lines.

use std::fmt::{Display, Write as _};

/// A unit being written, section by section.
pub(crate) struct UnitFile {
    text: String,
}

impl UnitFile {
    /// Begins a unit with the note that every rendered file carries.
    pub(crate) fn new(name: &str) -> UnitFile {
        let text = format!(
            "# Generated from packaging/src; systemd/README.md says why each setting is here.\n\
             # On a host, change it with: systemctl edit {name}\n"
        );
        UnitFile { text }
    }

    /// Begins a section.
    pub(crate) fn section(&mut self, name: &str) {
        self.line(format_args!("\n[{name}]"));
    }

    /// Sets a key. A second setting of a list-like key adds to it, as systemd does.
    ///
    /// A reason never follows a value on its line: systemd would read it as part of the value.
    pub(crate) fn set(&mut self, key: &str, value: impl Display) {
        self.line(format_args!("{key}={value}"));
    }

    /// Sets a list-like key, unless there is nothing in the list.
    pub(crate) fn list<T: AsRef<str>>(&mut self, key: &str, values: &[T]) {
        if !values.is_empty() {
            let words: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
            self.set(key, words.join(" "));
        }
    }

    /// Writes the reason for what follows.
    pub(crate) fn comment(&mut self, reason: &str) {
        self.line(format_args!("# {reason}"));
    }

    /// The finished text.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("writing to a string cannot fail");
    }
}
