//! Inserts that a disk that became full has torn: the server has answered that the rows are stored,
//! and cannot read the part that it has made of them.
//!
//! ClickHouse 26.7 was seen to do so with `fsync_after_insert` on: the file of the marks was empty. So
//! what it has stored is read once while its disk is nearly full, before the blocks are acknowledged;
//! and of what was sent more than once the rows are counted.

use crate::client::Connection;
use crate::decode::Answer;
use crate::error::Error;
use crate::refusal::{ACCESS_DENIED, NO_SUCH_PART};
use model::Kind;

/// Bytes that are free on a disk that is not nearly full.
const FREE_MIN: u64 = 1 << 30;

/// What a table looked like before rows were sent to it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Before {
    /// Whether a disk of the server was nearly full.
    is_tight: bool,
    /// The last insert into the day by then, unless an earlier process may have sent the rows.
    last_block: u64,
}

impl Before {
    /// Takes it that the rows may have been sent before this was looked at.
    pub(crate) const fn of_earlier(self) -> Self {
        Self { last_block: 0, ..self }
    }
}

/// An insert that was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Landed<'a> {
    pub(crate) kind: Kind,
    pub(crate) day: u16,
    pub(crate) rows: usize,
    pub(crate) before: Before,
    /// Parts of it that are known to be torn.
    pub(crate) torn: &'a [String],
}

/// Looks at the table before an insert. A disk that became full meanwhile may have room again
/// afterwards, if what filled it was a merge.
///
/// # Errors
///
/// [`Error`] if the server does not say.
pub(crate) async fn look(connection: &Connection, kind: Kind, day: u16) -> Result<Before, Error> {
    if connection.layout().is_cluster() {
        return Ok(Before::default());
    }
    let (database, table) = (connection.database(), connection.layout().held(kind));
    let sql = "SELECT toUInt64(max(max_block_number)) FROM system.parts \
               WHERE database = {database:String} AND table = {table:String} \
               AND toUInt16(toDate(partition)) = {day:UInt16}";
    let query = connection.query(sql).param("database", database).param("table", &table);
    let answer = match connection.fetch("look for the last insert", query.param("day", day)).await {
        Err(error) if error.is_one_of(&[ACCESS_DENIED]) => {
            tracing::debug!(%error, "the server does not say of which parts a table is");
            return Ok(Before::default());
        }
        answer => answer?,
    };
    let last_block = Answer::new(&answer).u64()?;
    Ok(Before { is_tight: is_tight(connection).await?, last_block })
}

/// The part of an insert, if it was made on a disk that is nearly full and cannot be read.
///
/// # Errors
///
/// [`Error`] if the server does not say.
pub(crate) async fn torn(
    connection: &Connection,
    landed: Landed<'_>,
) -> Result<Option<String>, Error> {
    // In a cluster another replica has it whole.
    if connection.layout().is_cluster() {
        return Ok(None);
    }
    match landed.before.is_tight || is_tight(connection).await? {
        true => unreadable(connection, landed).await,
        false => Ok(None),
    }
}

/// Whether a disk of the server is nearly full.
async fn is_tight(connection: &Connection) -> Result<bool, Error> {
    let sql = "SELECT toUInt64(min(free_space)) FROM system.disks";
    let answer = match connection.fetch("look at the disks", connection.query(sql)).await {
        Err(error) if error.is_one_of(&[ACCESS_DENIED]) => {
            tracing::debug!(%error, "the server does not say how full its disks are");
            return Ok(false);
        }
        answer => answer?,
    };
    Ok(Answer::new(&answer).u64()? < FREE_MIN)
}

/// The part of an insert, if it cannot be read. What was merged by now was read for that.
pub(crate) async fn unreadable(
    connection: &Connection,
    Landed { kind, day, rows, before, torn }: Landed<'_>,
) -> Result<Option<String>, Error> {
    let (database, table) = (connection.database(), connection.layout().held(kind));
    // The first row says that this is an answer: a full disk may also cost that.
    let sql = "SELECT name FROM (SELECT '' AS name, 0 AS block UNION ALL \
               SELECT name, -max_block_number FROM system.parts WHERE active AND level = 0 \
               AND database = {database:String} AND table = {table:String} \
               AND rows = {rows:UInt64} AND toUInt16(toDate(partition)) = {day:UInt16} \
               AND min_block_number > {last_block:UInt64}) ORDER BY name != '', block LIMIT 9";
    let query = connection.query(sql).param("database", database).param("table", &table);
    let query = query.param("rows", rows).param("day", day).param("last_block", before.last_block);
    let answer = connection.fetch("look for the part of an insert", query).await?;
    let mut answer = Answer::new(&answer);
    answer.text()?;
    while !answer.is_empty() {
        let part = answer.text()?;
        if !torn.iter().any(|torn| torn == part) {
            let is_sound = check(connection, &format!("{database}.{table}"), part).await?;
            return Ok((!is_sound).then(|| part.to_owned()));
        }
    }
    Ok(None)
}

/// Whether the table has the rows of these stream sequences. A server that was restarted knows the
/// name of an insert whose part it has set aside, and takes nothing under it.
///
/// # Errors
///
/// [`Error`] if the server does not say.
pub(crate) async fn is_there(
    connection: &Connection,
    Landed { kind, day, rows, .. }: Landed<'_>,
    (first, last): (u64, u64),
) -> Result<bool, Error> {
    let (database, table) = (connection.database(), connection.layout().held(kind));
    let sql = format!(
        "SELECT count() FROM {database}.{table} \
         WHERE _partition_id = toString(toYYYYMMDD(toDate({{day:UInt16}}))) \
         AND stream_seq BETWEEN {{first:UInt64}} AND {{last:UInt64}}"
    );
    let query = connection.query(&sql).param("day", day);
    let query = query.param("first", first).param("last", last);
    let answer = connection.fetch("look for the rows of an insert", query).await?;
    Ok(Answer::new(&answer).u64()? >= rows as u64)
}

/// Has the server read a part.
async fn check(connection: &Connection, table: &str, part: &str) -> Result<bool, Error> {
    let check = connection.query(&format!("CHECK TABLE {table} PART '{part}'"));
    let check = check.with_setting("check_query_single_value_result", "1");
    match connection.fetch("check the part of an insert", check).await {
        // It was merged meanwhile.
        Err(error) if error.is_one_of(&[NO_SUCH_PART]) => Ok(true),
        // A full disk may also cost the answer.
        answer => match *answer? {
            [is_sound] => Ok(is_sound == 1),
            _ => Err(Error::answer("it does not say whether a part is sound")),
        },
    }
}

/// Takes a torn part out of its table, whose rows were inserted again. Its files are kept.
///
/// # Errors
///
/// [`Error`] if the server refuses or does not answer.
pub(crate) async fn take_out(connection: &Connection, kind: Kind, part: &str) -> Result<(), Error> {
    let (database, table) = (connection.database(), connection.layout().held(kind));
    let detach = connection.query(&format!("ALTER TABLE {database}.{table} DETACH PART '{part}'"));
    match connection.execute("take out a part", detach).await {
        Err(error) if error.is_one_of(&[NO_SUCH_PART]) => Ok(()),
        detached => detached,
    }
}
