//! Inserts that a disk that became full has torn: the server has answered that the rows are stored,
//! and cannot read the part that it has made of them.
//!
//! ClickHouse 26.7 was seen to do so with `fsync_after_insert` on: the file of the marks was empty. So
//! what it has stored is read once while its disk is nearly full, before the blocks are acknowledged.

use crate::client::Connection;
use crate::decode::Answer;
use crate::error::Error;
use crate::refusal::{ACCESS_DENIED, NO_SUCH_PART};
use model::Kind;

/// Bytes that are free on a disk that is not nearly full.
const FREE_MIN: u64 = 1 << 30;

/// An insert that was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Landed<'a> {
    pub(crate) kind: Kind,
    pub(crate) day: u16,
    pub(crate) rows: usize,
    /// Parts of it that are known to be torn.
    pub(crate) torn: &'a [String],
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
    if connection.layout().is_cluster() || !is_tight(connection).await? {
        return Ok(None);
    }
    unreadable(connection, landed).await
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
    Landed { kind, day, rows, torn }: Landed<'_>,
) -> Result<Option<String>, Error> {
    let (database, table) = (connection.database(), connection.layout().held(kind));
    let sql = "SELECT name FROM system.parts WHERE active AND level = 0 \
               AND database = {database:String} AND table = {table:String} \
               AND rows = {rows:UInt64} AND toUInt16(toDate(partition)) = {day:UInt16} \
               AND modification_time >= now() - 600 \
               ORDER BY max_block_number DESC LIMIT 8";
    let query = connection.query(sql).param("database", database).param("table", &table);
    let query = query.param("rows", rows).param("day", day);
    let answer = connection.fetch("look for the part of an insert", query).await?;
    let mut answer = Answer::new(&answer);
    while !answer.is_empty() {
        let part = answer.text()?;
        if !torn.iter().any(|torn| torn == part) {
            let is_sound = check(connection, &format!("{database}.{table}"), part).await?;
            return Ok((!is_sound).then(|| part.to_owned()));
        }
    }
    Ok(None)
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
