//! Damaged parts whose sources are still there.
//!
//! A merge on a disk that becomes full may put a part into place whose files are empty. What it was
//! merged from stays on the disk for eight minutes (`old_parts_lifetime`), and a table that is loaded
//! anew takes that instead of a part that it finds to be broken, as after a restart of the server.
//!
//! Source: `old_parts_lifetime`, `max_suspicious_broken_parts_bytes`,
//! <https://clickhouse.com/docs/operations/settings/merge-tree-settings>;
//! `MergeTreeData::loadDataPartsFromDisk` of ClickHouse.

use crate::client::Connection;
use crate::decode::Answer;
use crate::refusal::{ACCESS_DENIED, UNKNOWN_TABLE};
use crate::{Damage, Error, Warehouse};
use model::Kind;
use std::sync::atomic::Ordering;

/// Seconds after a merge in which its sources are counted on: the server removes them after 480.
const SOURCES_AGE_MAX: u64 = 420;
/// Bytes of the largest part that a table is loaded anew for. The server loads no table with more
/// than 1 GiB of broken parts, and others may be broken, too.
const BROKEN_BYTES_MAX: u64 = 512 << 20;

/// A part of the partition in which one is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: String,
    is_active: bool,
    rows: u64,
    /// On the disk.
    bytes: u64,
    /// The first and the last of the inserts that are in it.
    blocks: (u64, u64),
    /// Seconds since it was merged into another.
    age: u64,
}

/// Has the schema looked at when it goes, however that is.
struct LookAgain<'a>(&'a Warehouse);

impl Drop for LookAgain<'_> {
    fn drop(&mut self) {
        self.0.look_again();
    }
}

impl Warehouse {
    /// Has the server load the table of a kind anew, so that it takes what a damaged part was merged
    /// from; returns whether it did. It is left alone if not all of that is there any more, and in a
    /// cluster, where the server fetches the part from another.
    ///
    /// While queries read the table it waits for them, and others are refused meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server refuses or does not answer.
    pub(crate) async fn heal(&self, kind: Kind, damage: &Damage) -> Result<bool, Error> {
        let Damage { table: Some(table), part: Some(part), .. } = damage else { return Ok(false) };
        let connection = self.connection();
        let held = connection.layout().held(kind);
        let is_ours = *table == format!("{}.{held}", connection.database());
        if !is_ours || !damage.is_of_files || connection.layout().is_cluster() {
            return Ok(false);
        }
        // Whoever looks at the schema meanwhile would miss the table.
        let _turn = self.shared.preparing.lock().await;
        // Where tables that were taken away cannot be listed, none is.
        if !put_back(connection).await? {
            return Ok(false);
        }
        // Only now: the turn may have taken long to come.
        let Some(sources) = sources(&self.partition(&held, part).await?, part) else {
            return Ok(false);
        };
        let before = self.rows(&held).await?;
        tracing::warn!(table, part, sources, "taking what a damaged part was merged from");
        self.reload(table).await?;
        let missing = before.saturating_sub(self.rows(&held).await?);
        let is_replaced = self.partition(&held, part).await?.is_empty();
        if missing > 0 {
            tracing::error!(
                table,
                missing,
                "rows are missing in the table that was loaded anew: see system.detached_parts"
            );
        } else {
            tracing::info!(table, part, is_replaced, "the table was loaded anew");
        }
        Ok(is_replaced)
    }

    /// Takes a table away and puts it back; if anything of this breaks off, it is put back before
    /// the next cut.
    async fn reload(&self, table: &str) -> Result<(), Error> {
        let (action, connection) = ("load a table anew", self.connection());
        let _look_again = LookAgain(self);
        self.shared.is_taken.store(true, Ordering::Release);
        let detach = connection.query(&format!("DETACH TABLE {table} SYNC"));
        let detached = connection.execute_unlimited(action, detach).await;
        // Also if it is not known whether it was taken away.
        attach(connection, table).await?;
        detached?;
        self.shared.is_taken.store(false, Ordering::Release);
        Ok(())
    }

    /// The parts of the partition that an active part is in; none if it is not there.
    async fn partition(&self, table: &str, part: &str) -> Result<Vec<Part>, Error> {
        let connection = self.connection();
        let sql = "WITH (SELECT any(partition_id) FROM system.parts WHERE active \
                   AND database = {database:String} AND table = {table:String} \
                   AND name = {part:String}) AS id \
                   SELECT name, toUInt16(active), rows, bytes_on_disk, \
                   toUInt64(min_block_number), toUInt64(max_block_number), \
                   toUInt64(greatest(dateDiff('second', remove_time, now()), 0)) \
                   FROM system.parts WHERE database = {database:String} \
                   AND table = {table:String} AND partition_id = id";
        let query = connection.query(sql).param("database", connection.database());
        let query = query.param("table", table).param("part", part);
        let answer = connection.fetch("list parts", query).await?;
        let (mut answer, mut parts) = (Answer::new(&answer), Vec::new());
        while !answer.is_empty() {
            parts.push(Part {
                name: answer.text()?.to_owned(),
                is_active: answer.u16()? == 1,
                rows: answer.u64()?,
                bytes: answer.u64()?,
                blocks: (answer.u64()?, answer.u64()?),
                age: answer.u64()?,
            });
        }
        Ok(parts)
    }

    /// How many rows a table has.
    async fn rows(&self, table: &str) -> Result<u64, Error> {
        let connection = self.connection();
        let sql = "SELECT toUInt64(sum(rows)) FROM system.parts WHERE active \
                   AND database = {database:String} AND table = {table:String}";
        let query = connection.query(sql).param("database", connection.database());
        let answer = connection.fetch("count rows", query.param("table", table)).await?;
        Answer::new(&answer).u64()
    }
}

async fn attach(connection: &Connection, table: &str) -> Result<(), Error> {
    let attach = connection.query(&format!("ATTACH TABLE IF NOT EXISTS {table}"));
    connection.execute_unlimited("put a table back", attach).await
}

/// Puts back the tables that were taken away to be loaded anew, by a process that was killed in
/// between or an attempt that broke off; returns `false` if the server does not list them. Who takes
/// one away for good says `PERMANENTLY`.
///
/// # Errors
///
/// [`Error`] if the server does not answer or does not put one back.
pub(crate) async fn put_back(connection: &Connection) -> Result<bool, Error> {
    let database = connection.database();
    // The first row says that this is an answer.
    let sql = "SELECT table FROM (SELECT '' AS table UNION ALL \
               SELECT table FROM system.detached_tables \
               WHERE database = {database:String} AND NOT is_permanently) ORDER BY table";
    let query = connection.query(sql).param("database", database);
    let answer = match connection.fetch("look for tables that were taken away", query).await {
        // No right, or an older server.
        Err(error) if error.is_one_of(&[ACCESS_DENIED, UNKNOWN_TABLE]) => {
            tracing::debug!(%error, "tables that were taken away cannot be seen");
            return Ok(false);
        }
        answer => answer?,
    };
    let mut answer = Answer::new(&answer);
    answer.text()?;
    while !answer.is_empty() {
        let table = answer.text()?;
        if Kind::ALL.iter().any(|kind| connection.layout().held(*kind) == table) {
            attach(connection, &format!("{database}.{table}")).await?;
            tracing::warn!(database, table, "a table that was taken away is back");
        }
    }
    Ok(true)
}

/// How many parts a damaged one was merged from, if together they still have all of its rows.
fn sources(parts: &[Part], damaged: &str) -> Option<usize> {
    let damaged = parts.iter().find(|part| part.is_active && part.name == damaged)?;
    let is_below = |part: &&Part| {
        !part.is_active
            && part.age <= SOURCES_AGE_MAX
            && part.blocks.0 >= damaged.blocks.0
            && part.blocks.1 <= damaged.blocks.1
    };
    let mut below: Vec<&Part> = parts.iter().filter(is_below).collect();
    // Of parts that were merged into others, the others.
    below.sort_by_key(|part| (part.blocks.0, u64::MAX - part.blocks.1));
    let (mut rows, mut count, mut last) = (0, 0, None);
    for part in below {
        if last.is_none_or(|last| part.blocks.0 > last) {
            (rows, count, last) = (rows + part.rows, count + 1, Some(part.blocks.1));
        }
    }
    // A merge leaves out what is there twice.
    let is_whole = count > 0 && rows >= damaged.rows && damaged.bytes <= BROKEN_BYTES_MAX;
    is_whole.then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, is_active: bool, rows: u64, blocks: (u64, u64)) -> Part {
        Part { name: name.to_owned(), is_active, rows, bytes: 10 * rows, blocks, age: 60 }
    }

    #[test]
    fn sources_are_the_outermost_parts_below_and_have_to_be_whole() {
        let mut parts = vec![
            part("d_1_9_2", true, 900, (1, 9)),
            part("d_10_12_1", true, 300, (10, 12)),
            part("d_1_4_1", false, 400, (1, 4)),
            part("d_1_1_0", false, 100, (1, 1)),
            part("d_2_2_0", false, 100, (2, 2)),
            part("d_5_9_1", false, 500, (5, 9)),
            part("d_10_10_0", false, 100, (10, 10)),
        ];
        assert_eq!(sources(&parts, "d_1_9_2"), Some(2));
        assert_eq!(sources(&parts, "d_10_12_1"), None, "two of three are gone");
        assert_eq!(sources(&parts, "d_1_4_1"), None, "it is not in use");
        assert_eq!(sources(&parts, "d_7_7_0"), None, "it is not there");
        parts[5].age = SOURCES_AGE_MAX + 1;
        assert_eq!(sources(&parts, "d_1_9_2"), None, "one is about to go");
        parts[5].age = 0;
        parts[0].bytes = BROKEN_BYTES_MAX + 1;
        assert_eq!(sources(&parts, "d_1_9_2"), None, "the server would not load the table");
        parts[0].bytes = 0;
        parts.retain(|part| part.name != "d_1_4_1");
        assert_eq!(sources(&parts, "d_1_9_2"), None, "only two of its four inserts are left");
    }
}
