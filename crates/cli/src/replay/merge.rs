//! The lines of several recordings, by the time of their receipt.

use crate::decode::input;
use std::io::BufRead;
use std::path::PathBuf;
use units::UnixNanos;
use venue::recording::Record;

/// Reads recordings side by side; of each it has one line in memory.
pub(super) struct Merged {
    streams: Vec<Stream>,
    /// Files that could not be read to their end, and why.
    broken: Vec<String>,
}

/// The files of one recording, one after another.
struct Stream {
    files: std::vec::IntoIter<PathBuf>,
    open: Option<Box<dyn BufRead>>,
    path: PathBuf,
    line: Vec<u8>,
    number: u64,
    /// Of the line; a line that is no record belongs to the time of the one before.
    time: UnixNanos,
    is_ready: bool,
}

/// One line.
pub(super) struct Line<'a> {
    /// The place of its recording among those that are read.
    pub(super) recording: usize,
    /// Without its line break.
    pub(super) text: &'a [u8],
    /// Its place in its file, from 1.
    pub(super) number: u64,
    /// When it, or the last one that has a time, was received.
    pub(super) time: UnixNanos,
}

impl Merged {
    /// A reader of recordings, each the files of one stream in their order.
    pub(super) fn new(recordings: impl IntoIterator<Item = Vec<PathBuf>>) -> Self {
        let streams = recordings.into_iter().map(|files| Stream {
            files: files.into_iter(),
            open: None,
            path: PathBuf::new(),
            line: Vec::new(),
            number: 0,
            time: UnixNanos::new(i64::MIN),
            is_ready: false,
        });
        Self { streams: streams.collect(), broken: Vec::new() }
    }

    /// The earliest line that is left. What cannot be read of a file is left out.
    pub(super) fn next_line(&mut self) -> Option<Line<'_>> {
        for stream in self.streams.iter_mut().filter(|stream| !stream.is_ready) {
            stream.advance(&mut self.broken);
        }
        let ready = self.streams.iter_mut().enumerate().filter(|(_, stream)| stream.is_ready);
        let (recording, stream) = ready.min_by_key(|(_, stream)| stream.time)?;
        stream.is_ready = false;
        let Stream { line, number, time, .. } = stream;
        Some(Line { recording, text: line, number: *number, time: *time })
    }

    /// Files that could not be read to their end so far, and why.
    pub(super) fn broken(&self) -> &[String] {
        &self.broken
    }
}

impl Stream {
    fn advance(&mut self, broken: &mut Vec<String>) {
        loop {
            let Some(reader) = &mut self.open else {
                let Some(path) = self.files.next() else { return };
                self.path = path;
                self.number = 0;
                match input::open(&self.path) {
                    Ok(reader) => self.open = Some(reader),
                    Err(error) => broken.push(format!("{}: {error}", self.path.display())),
                }
                continue;
            };
            match input::next_line(reader.as_mut(), &mut self.line) {
                Ok(true) => {
                    self.number += 1;
                    if let Ok(record) = Record::parse(&self.line) {
                        self.time = record.recv_time;
                    }
                    self.is_ready = true;
                    return;
                }
                Ok(false) => self.open = None,
                Err(error) => {
                    let (path, number) = (self.path.display(), self.number);
                    broken.push(format!("{path}: {error} after line {number}"));
                    self.open = None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(merged: &mut Merged) -> Vec<(usize, u64, String)> {
        let mut lines = Vec::new();
        while let Some(line) = merged.next_line() {
            let text = String::from_utf8(line.text.to_vec()).unwrap();
            lines.push((line.recording, line.number, text));
        }
        lines
    }

    #[test]
    fn lines_come_by_their_time_and_what_has_none_behind_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let first = vec![file("a", "1\tws\ta\nbroken\n4\tws\tb\n"), file("b", "6\tws\tc\n")];
        let second = vec![file("c", "3\tws\td\n5\tws\te")];
        let mut merged = Merged::new([first, second]);
        let expected = [
            (0, 1, "1\tws\ta"),
            (0, 2, "broken"),
            (1, 1, "3\tws\td"),
            (0, 3, "4\tws\tb"),
            (1, 2, "5\tws\te"),
            (0, 1, "6\tws\tc"),
        ];
        assert_eq!(read(&mut merged), expected.map(|(of, at, text)| (of, at, text.to_owned())));
        assert!(merged.broken().is_empty());
    }

    #[test]
    fn a_file_that_is_cut_off_is_named_and_the_next_one_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let whole = zstd::encode_all(&b"1\tws\ta\n"[..], 1).unwrap();
        let mut pieces = whole.clone();
        pieces.extend(&whole[..whole.len() / 2]);
        let paths = ["cut", "missing", "whole"].map(|name| dir.path().join(name));
        fs::write(&paths[0], pieces).unwrap();
        fs::write(&paths[2], whole).unwrap();
        let mut merged = Merged::new([paths.to_vec()]);
        let lines = read(&mut merged);
        assert_eq!(lines, [(0, 1, "1\tws\ta".to_owned()), (0, 1, "1\tws\ta".to_owned())]);
        let broken = merged.broken();
        assert_eq!(broken.len(), 2, "{broken:?}");
        assert!(broken[0].contains("cut: ") && broken[0].contains("after line 1"), "{broken:?}");
        assert!(broken[1].contains("missing: "), "{broken:?}");
    }
}
