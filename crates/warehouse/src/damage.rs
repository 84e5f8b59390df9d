//! Answers that say that the server's own files are damaged.

use crate::refusal::code;
use std::fmt;

/// Codes of exceptions about the files of a part, with their names in the server.
///
/// Source: `src/Common/ErrorCodes.cpp` and `src/Storages/MergeTree` of ClickHouse.
const OF_PARTS: &[u32] = &[
    226, // NO_FILE_IN_DATA_PART
    228, // BAD_SIZE_OF_FILE_IN_DATA_PART
    246, // CORRUPTED_DATA
];

/// Codes of exceptions about anything that is read. What a client sends is among it, so they are
/// about a part only if they name one, and one on a disk of the server's own.
///
/// Source: as of [`OF_PARTS`].
const OF_READING: &[u32] = &[
    32,  // ATTEMPT_TO_READ_AFTER_EOF
    33,  // CANNOT_READ_ALL_DATA
    40,  // CHECKSUM_DOESNT_MATCH
    107, // FILE_DOESNT_EXIST
    271, // CANNOT_DECOMPRESS
    432, // UNKNOWN_CODEC
];

/// Those of them that are about what is in a file, not about its size.
const OF_CONTENTS: &[u32] = &[40, 271, 432];

/// What of the data at rest is damaged, as far as the server says; shown with what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Database and table.
    pub table: Option<String>,
    /// The part of that table.
    pub part: Option<String>,
    /// Whether files are missing or cut off, which the server notices as well when it loads the
    /// table; else only what is in them is wrong.
    pub is_of_files: bool,
}

impl Damage {
    /// What an answer says of damage, if that is what it is about.
    pub(crate) fn of(error: &clickhouse::error::Error) -> Option<Self> {
        let clickhouse::error::Error::BadResponse(text) = error else { return None };
        let (code, part) = (code(text)?, part(text));
        let is_read = part.is_some() && !is_elsewhere(text);
        let is_damage = OF_PARTS.contains(&code) || is_read && OF_READING.contains(&code);
        let is_of_files = !OF_CONTENTS.contains(&code);
        is_damage.then(|| Self { table: table(text), part, is_of_files })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table.as_deref().unwrap_or("a table");
        match &self.part {
            Some(part) => write!(f, "the part {part} of {table}")?,
            None => write!(f, "a part of {table}")?,
        }
        write!(f, " is damaged on ClickHouse's disk; ")?;
        match (&self.table, &self.part) {
            (Some(table), Some(part)) => write!(f, "ALTER TABLE {table} DETACH PART '{part}'")?,
            (_, None) => write!(f, "CHECK TABLE says which, and ALTER TABLE … DETACH PART '…'")?,
            (None, Some(part)) => write!(f, "ALTER TABLE … DETACH PART '{part}'")?,
        }
        write!(f, " takes it out with its rows: see docs/clickhouse.md#damaged-parts")
    }
}

/// The name of the part whose path or name an exception has.
fn part(text: &str) -> Option<String> {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.find(|word| is_part(word)).map(str::to_owned)
}

/// Whether this is a name such as `20261126_1_93_6`: the partition, the first and the last block,
/// the level, and of a part that was changed the version.
fn is_part(word: &str) -> bool {
    let Some((partition, blocks)) = word.split_once('_') else { return false };
    (partition == "all" || is_number(partition))
        && (3..=4).contains(&blocks.split('_').count())
        && blocks.split('_').all(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the part is in an object store, from which a part that is whole cannot be read either
/// while a connection breaks off: `… located on disk cold of type s3, …`.
///
/// Source: `DataSourceDescription::name` in `src/Disks/DiskType.cpp` of ClickHouse; of the server's
/// own disks are `local` and `local_blob_storage`.
fn is_elsewhere(text: &str) -> bool {
    let Some((_, disk)) = text.split_once(" located on disk ") else { return false };
    disk.split_once(" of type ").is_some_and(|(_, of_disk)| !of_disk.starts_with("local"))
}

/// Database and table in `(while reading from part … in table marketprism.stored_trade (…) …`.
fn table(text: &str) -> Option<String> {
    let name = text.split_once(" in table ")?.1;
    let end = name.find([' ', ',', ')']).unwrap_or(name.len());
    name[..end].contains('.').then(|| name[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    const EMPTY_MARKS: &str = "Code: 246. DB::Exception: Empty marks file \
        '/var/lib/clickhouse/store/1b2/1b2c/20261126_1_93_6/data.cmrk4': 0, must be: 96: (while \
        reading from part /var/lib/clickhouse/store/1b2/1b2c/20261126_1_93_6/ in table \
        marketprism.stored_trade (1b2c) located on disk default of type local, from mark 0 with \
        max_rows_to_read = 8192): While executing MergeTreeSelect. (CORRUPTED_DATA)";

    fn error(text: &str) -> Error {
        let source = clickhouse::error::Error::BadResponse(text.to_owned());
        Error::client("read identities")(source)
    }

    #[test]
    fn damage_names_table_part_and_remedy_and_is_the_servers() {
        let error = error(EMPTY_MARKS);
        assert_eq!(
            error.to_string(),
            "cannot read identities: the part 20261126_1_93_6 of marketprism.stored_trade is \
             damaged on ClickHouse's disk; ALTER TABLE marketprism.stored_trade DETACH PART \
             '20261126_1_93_6' takes it out with its rows: see docs/clickhouse.md#damaged-parts"
        );
        assert!(error.is_remote() && error.is_damage() && !error.is_of_rows());
    }

    #[test]
    fn what_the_answer_does_not_name_is_left_open() {
        let text = "Code: 246. DB::Exception: Bad size of marks file. (CORRUPTED_DATA)";
        assert!(error(text).to_string().contains("a part of a table is damaged"));
        assert!(error(text).to_string().contains("CHECK TABLE says which"));
        let text = "Code: 226. DB::Exception: No columns.txt in part all_92_92_0, Stack trace";
        let found = Damage { table: None, part: Some("all_92_92_0".to_owned()), is_of_files: true };
        let source = clickhouse::error::Error::BadResponse(text.to_owned());
        assert_eq!(Damage::of(&source), Some(found));
    }

    #[test]
    fn what_cannot_be_read_is_damage_only_if_it_is_of_a_part() {
        let of_a_part = "Code: 33. DB::Exception: Cannot read all data. Bytes read: 0. Bytes \
            expected: 8.: (while reading column price): (while reading from part \
            /data/store/bee/20261126_7_7_0_9/ in table marketprism.stored_trade (bee) located on \
            disk default of type local, from mark 0 with max_rows_to_read = 8192)";
        assert!(error(of_a_part).is_damage());
        let of_an_object_store = of_a_part.replace("default of type local", "cold of type s3");
        for text in [
            of_an_object_store.as_str(),
            "Code: 33. DB::Exception: Cannot read all data. Bytes read: 3. Bytes expected: 5.",
            "Code: 243. DB::Exception: Cannot reserve 1.00 MiB for part 20261126_1_93_6",
            "Code: 60. DB::Exception: Table marketprism.stored_trade does not exist",
            "",
        ] {
            assert!(matches!(error(text), Error::Refused { .. }), "{text}");
        }
    }

    #[test]
    fn a_part_has_a_name_of_its_own() {
        for name in ["20261126_1_93_6", "20261126_1_93_6_120", "all_0_0_0"] {
            assert!(is_part(name), "{name}");
        }
        for word in ["", "20261126", "stored_trade", "1_2_3", "20261126_1__6", "1_2_3_4_5_6"] {
            assert!(!is_part(word), "{word}");
        }
    }
}
