//! A file of this crate: one JSON document, replaced as a whole and never edited in place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use serde::de::{self, DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::key::Key;
use crate::ring::{KEYS_MAX, Ring};

/// The only layout so far.
pub(crate) const VERSION: u32 = 1;

/// Largest file that is read: [`KEYS_MAX`] records take a third of it.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Why a file could not be read or replaced.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or its directory could not be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not what this crate writes.
    #[error("{}:{line}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where the error was noticed, from 1: the wrong line or, for a whole record, its end.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
}

/// Identifies one state of the file, to notice that it was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(Option<(u64, u64, i64, i64)>);

impl Stamp {
    /// Looks at the file's inode, size and time of change; an absent file has a stamp too.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the file can be neither seen nor called absent.
    pub fn of(path: &Path) -> Result<Stamp, Error> {
        match fs::metadata(path) {
            Ok(meta) => Ok(Stamp(Some((meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec())))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Stamp(None)),
            Err(error) => Err(failed("look at", path)(error)),
        }
    }
}

/// Reads the keys; an absent file is a ring without keys.
///
/// # Errors
///
/// [`Error::Io`] if the file cannot be read, [`Error::Malformed`] with the line if it is damaged.
pub fn load(path: &Path) -> Result<Ring, Error> {
    Ok(read::<Document>(path)?.keys)
}

/// Changes the keys: reads the file, applies `change` and replaces the file, all under a lock.
///
/// The new file is complete and synced before it takes the old one's name, has mode 0600 and
/// belongs to the directory's owner, so that root can write what the gateway's user reads. The
/// lock is on the directory and makes concurrent changes wait for one another. If `change` fails
/// the file stays as it was.
///
/// # Errors
///
/// Whatever `change` returns, or [`Error`] if the file cannot be read or replaced.
pub fn update<T, E: From<Error>>(
    path: &Path,
    change: impl FnOnce(&mut Ring) -> Result<T, E>,
) -> Result<T, E> {
    rewrite(path, |document: &mut Document| change(&mut document.keys))
}

/// Reads a document; an absent file is an empty one.
pub(crate) fn read<D: DeserializeOwned + Default>(path: &Path) -> Result<D, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(D::default()),
        Err(error) => return Err(failed("open", path)(error)),
    };
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(failed("read", path))?;
    serde_json::from_slice(&text).map_err(|error| Error::Malformed {
        path: path.to_owned(),
        line: error.line().max(1),
        reason: reason(&error),
    })
}

/// Changes a document, as [`update`] says.
pub(crate) fn rewrite<D, T, E>(
    path: &Path,
    change: impl FnOnce(&mut D) -> Result<T, E>,
) -> Result<T, E>
where
    D: DeserializeOwned + Serialize + Default,
    E: From<Error>,
{
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let lock = File::open(directory).map_err(failed("open", directory))?;
    lock.lock().map_err(failed("lock", directory))?;
    let mut document: D = read(path)?;
    let outcome = change(&mut document)?;
    replace(path, &lock, &document)?;
    Ok(outcome)
}

/// Writes beside the file, syncs, renames, and syncs the directory so that the name is durable.
fn replace(path: &Path, directory: &File, document: &impl Serialize) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    // What an interrupted run left; the lock is ours, so nobody is writing it.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", &beside)(error));
        }
        Ok(()) | Err(_) => {}
    }
    let mut text = serde_json::to_vec_pretty(document)
        .map_err(|error| failed("encode", path)(error.into()))?;
    text.push(b'\n');
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .map_err(failed("create", &beside))?;
    give_to_owner_of(directory, &file).map_err(failed("change the owner of", &beside))?;
    file.write_all(&text).map_err(failed("write", &beside))?;
    file.sync_all().map_err(failed("sync", &beside))?;
    fs::rename(&beside, path).map_err(failed("replace", path))?;
    directory.sync_all().map_err(failed("sync the directory of", path))
}

fn give_to_owner_of(directory: &File, file: &File) -> io::Result<()> {
    let (owner, ours) = (directory.metadata()?, file.metadata()?);
    if (owner.uid(), owner.gid()) == (ours.uid(), ours.gid()) {
        return Ok(());
    }
    match fchown(file, Some(owner.uid()), Some(owner.gid())) {
        // Only root may give files away. Anyone else who can write here keeps the file: the
        // group of a shared directory is no reason to refuse.
        Err(error)
            if error.kind() == io::ErrorKind::PermissionDenied && owner.uid() == ours.uid() =>
        {
            Ok(())
        }
        result => result,
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

/// The parser's message without its position, which the error carries by itself.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(deserialize_with = "known_version")]
    version: u32,
    keys: Ring,
}

impl Default for Document {
    fn default() -> Self {
        Self { version: VERSION, keys: Ring::default() }
    }
}

/// Reads a document's version, which must be the only one there is.
pub(crate) fn known_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        VERSION => Ok(VERSION),
        other => Err(de::Error::custom(format_args!(
            "version {other} of the key file is not known to this program"
        ))),
    }
}

impl Serialize for Ring {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.matching(""))
    }
}

/// Reads a list while noticing doubled ids, so that the error carries the line of the second.
impl<'de> Deserialize<'de> for Ring {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ring, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Ring;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of keys")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut keys: A) -> Result<Ring, A::Error> {
                let mut ring = Ring::default();
                while let Some(key) = keys.next_element::<Key>()? {
                    let id = key.id;
                    if !ring.insert(key) {
                        return Err(de::Error::custom(if ring.len() < KEYS_MAX {
                            format!("the id {id} is there twice")
                        } else {
                            format!("more than {KEYS_MAX} keys")
                        }));
                    }
                }
                Ok(ring)
            }
        }
        deserializer.deserialize_seq(Keys)
    }
}

#[cfg(test)]
mod tests;
