//! A file that rows are written into page by page, and that a later run goes on with.
//!
//! Until all rows are there they are in `FILE.part`, and `FILE.part.json` says of what query they are
//! and how far it is. A page is on the disk before that says so: whatever ends the command, the same
//! command goes on behind the last page, and the file becomes what it would have been.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Version of the note.
const VERSION: u32 = 1;

/// What is asked for, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Query {
    /// The last segment of the address.
    pub(super) path: String,
    /// Without the end, which may be the time of the first run.
    pub(super) parameters: Vec<(String, String)>,
    pub(super) format: String,
    pub(super) fields: Vec<String>,
    pub(super) limit: Option<u64>,
    /// Before which time, in nanoseconds; `None` if nothing was said.
    pub(super) until: Option<i64>,
}

/// How far a file is.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    version: u32,
    query: Query,
    /// When the first run began, in nanoseconds: where a query without an end ends.
    began: i64,
    cursor: Option<String>,
    rows: u64,
    bytes: u64,
}

/// A file that is not complete.
#[derive(Debug)]
pub(super) struct Draft {
    target: PathBuf,
    part: PathBuf,
    file: File,
    note: Note,
}

impl Draft {
    /// Goes on with the file of a query, or begins it at `now`.
    ///
    /// # Errors
    ///
    /// If the file is complete already, is that of another query, is being written by somebody else,
    /// or cannot be written.
    pub(super) fn open(target: &Path, query: Query, now: i64) -> anyhow::Result<Self> {
        let shown = target.display();
        ensure!(!target.exists(), "{shown} is there already: remove it, or name another file");
        let part = beside(target, ".part");
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&part);
        let file = file.with_context(|| format!("open {}", part.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another command is writing {}", part.display())
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("lock {}", part.display()));
            }
        }
        let length = file.metadata().with_context(|| format!("read {}", part.display()))?.len();
        let note = match read(&note_of(target))? {
            // Of a query that was refused nothing is kept, nor is it of a file that was removed.
            Some(note) if note.bytes > 0 && length > 0 => note,
            None if length > 0 => bail!(
                "{} is not of a query of this command: remove it, or name another file",
                part.display()
            ),
            Some(_) | None => Note {
                version: VERSION,
                query: query.clone(),
                began: now,
                cursor: None,
                rows: 0,
                bytes: 0,
            },
        };
        if let Some(difference) = difference(&note.query, &query) {
            bail!(
                "{} is of another query ({difference}): ask the same again to go on with it, or \
                 remove it",
                part.display()
            );
        }
        ensure!(
            note.bytes <= length,
            "{} has {length} bytes and had {}: remove it to begin anew",
            part.display(),
            note.bytes
        );
        let mut draft = Self { target: target.to_owned(), part, file, note };
        draft.back()?;
        Ok(draft)
    }

    /// Where the query ends, in nanoseconds.
    pub(super) fn until(&self) -> i64 {
        self.note.query.until.unwrap_or(self.note.began)
    }

    /// The rows that are there.
    pub(super) const fn rows(&self) -> u64 {
        self.note.rows
    }

    /// The bytes that are there.
    pub(super) const fn bytes(&self) -> u64 {
        self.note.bytes
    }

    /// Where the rows go on; `None` at the first one.
    pub(super) fn cursor(&self) -> Option<&str> {
        self.note.cursor.as_deref()
    }

    /// Whether nothing is there, not even what stands before the rows.
    pub(super) const fn is_new(&self) -> bool {
        self.note.bytes == 0 && self.note.cursor.is_none()
    }

    /// Forgets what is there.
    pub(super) fn begin_anew(&mut self) -> anyhow::Result<()> {
        (self.note.rows, self.note.bytes, self.note.cursor) = (0, 0, None);
        self.back()
    }

    /// Appends data, which lasts once it is kept.
    pub(super) fn append(&mut self, data: &[u8]) -> anyhow::Result<()> {
        self.file.write_all(data).with_context(|| format!("write {}", self.part.display()))?;
        self.note.bytes += data.len() as u64;
        Ok(())
    }

    /// Keeps what was appended: so many rows more, behind which it goes on at the cursor.
    pub(super) fn keep(&mut self, rows: u64, cursor: Option<&str>) -> anyhow::Result<()> {
        self.note.rows += rows;
        self.note.cursor = cursor.map(ToOwned::to_owned);
        self.file.sync_data().with_context(|| format!("write {}", self.part.display()))?;
        self.remember()
    }

    /// Gives the file its name.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let Self { target, part, file, .. } = &self;
        let shown = target.display();
        file.sync_all().with_context(|| format!("write {}", part.display()))?;
        ensure!(!target.exists(), "{shown} is there by now: the rows are in {}", part.display());
        fs::rename(part, target).with_context(|| format!("name {shown}"))?;
        let note = note_of(target);
        fs::remove_file(&note).with_context(|| format!("remove {}", note.display()))
    }

    /// Goes back to what was kept.
    fn back(&mut self) -> anyhow::Result<()> {
        let Self { file, note, part, .. } = self;
        let back = file.set_len(note.bytes).and_then(|()| file.seek(SeekFrom::End(0)));
        back.with_context(|| format!("write {}", part.display()))?;
        self.remember()
    }

    fn remember(&self) -> anyhow::Result<()> {
        let (path, fresh) = (note_of(&self.target), beside(&self.target, ".part.json.new"));
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&fresh)?;
            file.write_all(&serde_json::to_vec(&self.note)?)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)
        };
        write().with_context(|| format!("write {}", path.display()))
    }
}

fn note_of(target: &Path) -> PathBuf {
    beside(target, ".part.json")
}

/// The path with something behind its name.
fn beside(target: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(target);
    name.push(suffix);
    name.into()
}

fn read(path: &Path) -> anyhow::Result<Option<Note>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let note: Note = serde_json::from_slice(&text)
        .with_context(|| format!("{} is damaged: remove it and the .part", path.display()))?;
    let version = note.version;
    ensure!(
        version == VERSION,
        "{} is of version {version}: remove it and the .part",
        path.display()
    );
    Ok(Some(note))
}

/// What of a query is not as it was.
fn difference(was: &Query, is: &Query) -> Option<String> {
    if was == is {
        return None;
    }
    let start = |query: &Query| {
        let start = query.parameters.iter().find(|(name, _)| name == "start");
        start.and_then(|(_, nanos)| nanos.parse().ok())
    };
    let time = |nanos: i64| Timestamp::from_nanosecond(i128::from(nanos)).ok();
    let told = |name: &str, was: Option<i64>| match was.and_then(time) {
        Some(time) => format!("--{name} {time}"),
        None => format!("no --{name}"),
    };
    let mut other = Vec::new();
    if start(was) != start(is) {
        other.push(told("since", start(was)));
    }
    if was.until != is.until {
        other.push(told("until", was.until));
    }
    if was.format != is.format {
        other.push(format!("--format {}", was.format));
    }
    if was.fields != is.fields {
        other.push(format!("the fields {}", was.fields.join(",")));
    }
    if was.limit != is.limit {
        other.push(was.limit.map_or("no --limit".to_owned(), |limit| format!("--limit {limit}")));
    }
    Some(if other.is_empty() { "other rows".to_owned() } else { other.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(limit: Option<u64>) -> Query {
        Query {
            path: "trades".to_owned(),
            parameters: vec![("start".to_owned(), "1778284800000000000".to_owned())],
            format: "csv".to_owned(),
            fields: Vec::new(),
            limit,
            until: None,
        }
    }

    fn open(directory: &Path, query: Query, now: i64) -> anyhow::Result<Draft> {
        Draft::open(&directory.join("trades.csv"), query, now)
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_kept_is_gone_on_with_and_the_rest_is_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut draft = open(directory.path(), query(None), 7).unwrap();
        assert!(draft.is_new());
        draft.append(b"header\n1\n").unwrap();
        draft.keep(1, Some("behind 1")).unwrap();
        draft.append(b"2, half of i").unwrap();
        drop(draft);

        let mut draft = open(directory.path(), query(None), 9).unwrap();
        assert_eq!((draft.rows(), draft.cursor(), draft.until()), (1, Some("behind 1"), 7));
        draft.append(b"2\n").unwrap();
        draft.keep(1, None).unwrap();
        draft.finish().unwrap();
        assert_eq!(names(directory.path()), ["trades.csv"]);
        let text = fs::read_to_string(directory.path().join("trades.csv")).unwrap();
        assert_eq!(text, "header\n1\n2\n");
        let error = open(directory.path(), query(None), 9).unwrap_err().to_string();
        assert!(error.contains("is there already"), "{error}");
    }

    #[test]
    fn another_query_and_a_second_command_are_kept_off_it() {
        let directory = tempfile::tempdir().unwrap();
        let draft = open(directory.path(), query(Some(4)), 7).unwrap();
        let error = open(directory.path(), query(Some(4)), 7).unwrap_err().to_string();
        assert!(error.contains("another command is writing"), "{error}");
        drop(draft);
        let mut other = query(None);
        (other.until, other.format) = (Some(3), "jsonl".to_owned());
        other.parameters.clear();
        // Nothing was kept of the first.
        open(directory.path(), other.clone(), 7).unwrap();
        let mut draft = open(directory.path(), query(Some(4)), 7).unwrap();
        draft.append(b"1\n").unwrap();
        draft.keep(1, Some("behind 1")).unwrap();
        drop(draft);
        let error = open(directory.path(), other.clone(), 7).unwrap_err().to_string();
        let was = "(--since 2026-05-09T00:00:00Z, no --until, --format csv, --limit 4)";
        assert!(error.contains(was), "{error}");
        assert_eq!(open(directory.path(), query(Some(4)), 7).unwrap().rows(), 1);
        fs::remove_file(directory.path().join("trades.csv.part")).unwrap();
        assert_eq!(open(directory.path(), other, 7).unwrap().rows(), 0, "as the advice says");
    }

    #[test]
    fn what_is_not_as_it_was_left_is_not_gone_on_with() {
        let directory = tempfile::tempdir().unwrap();
        let [part, note] =
            ["trades.csv.part", "trades.csv.part.json"].map(|n| directory.path().join(n));
        fs::write(&part, "somebody's").unwrap();
        let refused = || open(directory.path(), query(None), 7).unwrap_err().to_string();
        assert!(refused().contains("not of a query of this command"), "{}", refused());
        assert_eq!(fs::read_to_string(&part).unwrap(), "somebody's");
        fs::remove_file(&part).unwrap();
        let mut draft = open(directory.path(), query(None), 7).unwrap();
        draft.append(b"1\n").unwrap();
        draft.keep(1, None).unwrap();
        drop(draft);
        fs::write(&part, "1").unwrap();
        assert!(refused().contains("has 1 bytes and had 2"), "{}", refused());
        fs::write(&note, "{").unwrap();
        assert!(refused().contains("is damaged"), "{}", refused());
    }
}
