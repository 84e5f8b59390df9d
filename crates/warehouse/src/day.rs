//! Days of a table: which there are, what they amount to, and how one goes.

use crate::columns::{Column, Type, columns, first_id};
use crate::decode::Answer;
use crate::error::Error;
use crate::retention::ExpiredDay;
use crate::{Reader, Table};
use catalog::{Extent, StreamKey};
use model::{Identity, Kind};
use std::time::Duration;

/// What the rows of a day amount to: two that are equal were made of the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// Rows, each identity once.
    pub rows: u64,
    /// The sum of a hash of every column of every row.
    hash: u64,
}

/// A day whose rows were found to be those that were compared.
#[derive(Debug, Clone, Copy)]
pub struct Confirmed {
    day: i64,
    mark: Mark,
}

/// A number that the server raises with each insert into a day and each change of its rows, and
/// leaves alone when it merges parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark(u64);

/// How long the server may take to read a whole day: hundreds of millions of levels of books.
const DAY_MAX: Duration = Duration::from_mins(30);

/// A day in the words of the partition key, so that others are not read.
const THAT_DAY: &str = "toDate(ifNull(venue_time, recv_time)) = toDate({day:UInt16})";

impl Reader {
    /// The days before `day`, counted from the epoch, that hold rows.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server does not say.
    pub async fn days_before(&self, day: i64) -> Result<Vec<ExpiredDay>, Error> {
        let connection = self.warehouse().connection();
        let table = connection.layout().held(self.kind());
        let sql = format!(
            "SELECT toUInt16(toDate(partition)) AS day, toString(toDate(partition)), \
             sum(rows), sum(bytes_on_disk) FROM {} \
             WHERE active AND database = {{database:String}} AND table = {{table:String}} \
             AND toInt64(toUInt16(toDate(partition))) < {{day:Int64}} \
             GROUP BY partition ORDER BY day",
            connection.layout().system("parts")
        );
        let query = connection.query(&sql).param("database", connection.database());
        let query = query.param("table", &table).param("day", day);
        let answer = connection.fetch("list old days", query).await?;
        let (mut answer, mut days) = (Answer::new(&answer), Vec::new());
        while !answer.is_empty() {
            days.push(ExpiredDay {
                table: format!("{}.{table}", connection.database()),
                day: i64::from(answer.u16()?),
                date: answer.text()?.to_owned(),
                rows: answer.u64()?,
                bytes: answer.u64()?,
            });
        }
        Ok(days)
    }

    /// A stream's rows of a day that lie above `after`, in the order of identity; at most so many.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server does not answer.
    pub async fn extents(
        &self,
        stream: &StreamKey,
        day: i64,
        after: Option<Identity>,
        limit: usize,
    ) -> Result<Vec<Extent>, Error> {
        let behind = if after.is_some() {
            " AND identity_major >= {major:UInt64} AND (identity_major > {major:UInt64} \
             OR identity_minor > {minor:UInt64})"
        } else {
            ""
        };
        let sql = format!(
            "SELECT identity_major, identity_minor, {} FROM {} WHERE {THAT_DAY} \
             AND venue = {{venue:String}} AND market = {{market:String}} \
             AND symbol = {{symbol:String}}{behind} \
             ORDER BY identity_major, identity_minor \
             LIMIT 1 BY identity_major, identity_minor LIMIT {{limit:UInt64}}",
            first_id(self.kind()),
            self.table()
        );
        let mut query = self.of(&sql, stream).param("day", number(day)).param("limit", limit);
        if let Some(Identity { major, minor }) = after {
            query = query.param("major", major).param("minor", minor);
        }
        let answer = self.warehouse().connection().fetch("list identities", query).await?;
        let (mut answer, mut extents) = (Answer::new(&answer), Vec::new());
        while !answer.is_empty() {
            let identity = Identity { major: answer.u64()?, minor: answer.u64()? };
            extents.push(Extent { identity, first: answer.u64()? });
        }
        Ok(extents)
    }

    /// What the rows of a day amount to, without sending them.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server does not answer.
    pub async fn fingerprint(&self, day: i64) -> Result<Fingerprint, Error> {
        let sql = format!(
            "SELECT count(), sum(cityHash64({})) FROM {} FINAL WHERE {THAT_DAY}",
            hashed(self.kind()),
            self.table()
        );
        let connection = self.warehouse().connection();
        let query = connection.query(&sql).param("day", number(day));
        // The server gives up as well, also if nobody waits any more.
        let query = query.with_setting("max_execution_time", DAY_MAX.as_secs().to_string());
        let answer = connection.fetch_within("compare a day", query, DAY_MAX).await?;
        let mut answer = Answer::new(&answer);
        Ok(Fingerprint { rows: answer.u64()?, hash: answer.u64()? })
    }
}

impl Reader {
    /// Looks whether the rows of a day are those that were compared, however long it takes the
    /// server to read them. Rows may be inserted meanwhile: the answer is good for
    /// [`Table::drop_day`] until some come into this very day.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] if they are others, else what the server or the way to it says.
    pub async fn confirm(&self, day: i64, expected: Fingerprint) -> Result<Confirmed, Error> {
        // The mark first: what comes behind it is seen in it, whether or not it is compared.
        let mark = self.mark(day).await?;
        if self.fingerprint(day).await? != expected {
            return Err(Error::Changed { kind: self.kind() });
        }
        Ok(Confirmed { day, mark })
    }

    /// A new part has a block number above those of all others; a changed one has the number of the
    /// change, out of the same sequence, as its data version; and the result of a merge has the
    /// highest of its sources.
    ///
    /// Source: <https://clickhouse.com/docs/operations/system-tables/parts>.
    async fn mark(&self, day: i64) -> Result<Mark, Error> {
        let connection = self.warehouse().connection();
        let layout = connection.layout();
        // Each shard counts for itself, and none backwards.
        let sql = format!(
            "SELECT toUInt64(sum(highest)) FROM (SELECT \
             max(greatest(toInt64(max_block_number), toInt64(data_version))) AS highest \
             FROM {} WHERE active AND database = {{database:String}} \
             AND table = {{table:String}} AND toUInt16(toDate(partition)) = {{day:UInt16}} \
             GROUP BY shardNum())",
            layout.system("parts")
        );
        let query = connection.query(&sql).param("database", layout.database());
        let query = query.param("table", layout.held(self.kind())).param("day", number(day));
        let answer = connection.fetch("look at a day", query).await?;
        Ok(Mark(Answer::new(&answer).u64()?))
    }
}

/// The columns of a kind as arguments of a hash, which is null if one of them is: a value that is
/// absent is told from every one that is there.
fn hashed(kind: Kind) -> String {
    let argument = |Column { name, ty, .. }: &Column| match ty {
        Type::OptionalText => format!("isNull(`{name}`), ifNull(`{name}`, '')"),
        Type::OptionalU32 | Type::OptionalU64 | Type::OptionalDecimal => {
            format!("isNull(`{name}`), ifNull(`{name}`, 0)")
        }
        Type::OptionalTime => {
            format!("isNull(`{name}`), ifNull(toUnixTimestamp64Nano(`{name}`), 0)")
        }
        Type::Key
        | Type::Text
        | Type::U32
        | Type::U64
        | Type::Bool
        | Type::Time
        | Type::Decimal
        | Type::Levels => format!("`{name}`"),
    };
    columns(kind).iter().map(argument).collect::<Vec<_>>().join(", ")
}

impl Table {
    /// Takes a day out, if its rows are still those that were looked at.
    ///
    /// Nothing of this kind is inserted meanwhile: this is the only writer. What takes long was done
    /// before, beside it.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] or [`Error::Unfinished`] if it was left as it is, else what the server or
    /// the way to it says; the day may be gone then, or be there as a whole.
    pub async fn drop_day(&mut self, confirmed: Confirmed) -> Result<(), Error> {
        let (kind, reader) = (self.kind(), self.reader());
        let Confirmed { day, mark } = confirmed;
        if self.is_pending() {
            return Err(Error::Unfinished { kind });
        }
        if reader.mark(day).await? != mark {
            return Err(Error::Changed { kind });
        }
        let connection = self.warehouse().connection();
        let table = connection.layout().everywhere(&connection.layout().held(kind));
        let sql = format!("ALTER TABLE {table} DROP PARTITION {{date:String}}");
        let query = connection.query(&sql).param("date", date(day));
        // The server gives up before we do: one that went on alone would take rows that come later.
        let query = query.with_setting("lock_acquire_timeout", LOCK_MAX_SECS);
        let dropped = connection.execute("drop a day", query).await;
        // What it knows to be stored may be gone, whatever the answer says.
        self.give_up();
        dropped
    }
}

/// How long a drop waits at the server for whoever uses the table.
const LOCK_MAX_SECS: &str = "5";

/// A day as a `Date` has it.
pub(crate) fn number(day: i64) -> u16 {
    u16::try_from(day.max(0)).unwrap_or(u16::MAX)
}

/// The date with this number of days since the epoch.
fn date(day: i64) -> String {
    let date = jiff::civil::date(1970, 1, 1);
    date.saturating_add(jiff::Span::new().days(i64::from(number(day)))).to_string()
}
