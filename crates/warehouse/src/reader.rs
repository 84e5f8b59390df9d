//! Queries: pages in the order of identity, coverage, holes.
//!
//! Every value of a caller is a bound parameter; the texts of the statements come from this crate
//! alone. No reader sees a duplicate even if one were there: in the order of identity it would be the
//! neighbour of its like, and is passed over; what is counted is read with `FINAL`.

use crate::Warehouse;
use crate::columns::{first_id, names};
use crate::day::number;
use crate::decode::{self, Answer};
use crate::error::Error;
use catalog::{
    ALL_DAYS, Coverage, Cursor, Day, Days, Filter, HOLES_MAX, Order, PAGE_BYTES_MAX, PAGE_ROWS_MAX,
    Page, Query, Ranges, StreamKey, Tallies, Tally,
};
use clickhouse::query::Query as Statement;
use model::{Identity, Kind};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Rows asked for at first; a whole book may have megabytes, and how large the rows are is seen
/// from these.
const FIRST_ROWS: usize = 64;

/// How long the server may count: some billions of rows.
const TALLY_MAX: Duration = Duration::from_secs(10);

/// How much a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Parts on disk.
    pub parts: u64,
    /// Rows in them.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Reads one table beside its writer; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    warehouse: Warehouse,
    kind: Kind,
}

impl Reader {
    pub(crate) const fn new(warehouse: Warehouse, kind: Kind) -> Self {
        Self { warehouse, kind }
    }

    pub(crate) const fn warehouse(&self) -> &Warehouse {
        &self.warehouse
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Reads one page of rows.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server does not answer or a row cannot be read.
    pub async fn query(&self, query: &Query) -> Result<Page, Error> {
        let (mut page, mut last) = (Page::default(), None);
        let limit = query.limit.clamp(1, PAGE_ROWS_MAX);
        for stream in self.streams_of(query).await? {
            let mut after =
                query.after.as_ref().filter(|after| after.stream == stream).map(|a| a.identity);
            let mut rows = FIRST_ROWS;
            loop {
                // One row more than fits says whether there is a next page.
                let wanted = rows.min(limit - page.count + 1);
                let bytes = self.rows(query, &stream, after, wanted).await?;
                let (mut answer, mut read) = (Answer::new(&bytes), 0);
                while !answer.is_empty() {
                    let row = decode::row(&mut answer, self.kind)?;
                    read += 1;
                    if after == Some(row.event.identity()) {
                        continue;
                    }
                    if page.count == limit || page.rows.len() >= PAGE_BYTES_MAX {
                        page.next = last;
                        return Ok(page);
                    }
                    let identity = row.event.identity();
                    after = Some(identity);
                    last = Some(Cursor { stream: stream.clone(), identity });
                    page.push(row.stream_seq, |out| wire::encode(&row.event, out))
                        .map_err(|error| Error::answer(error.to_string()))?;
                }
                if read < wanted {
                    break;
                }
                rows = next_rows(bytes.len(), read);
            }
        }
        Ok(page)
    }

    /// The streams of a query, in the order in which they are handed out.
    async fn streams_of(&self, query: &Query) -> Result<Vec<StreamKey>, Error> {
        let mut streams = match &query.filter {
            // Named in full: there is nothing to look up.
            Filter { venue: Some(venue), market: Some(market), symbol: Some(symbol) } => {
                vec![StreamKey { venue: *venue, market: *market, symbol: symbol.clone() }]
            }
            filter => self.streams(filter).await?,
        };
        let after = query.after.as_ref().map(|after| &after.stream);
        match query.order {
            Order::Ascending => streams.retain(|key| after.is_none_or(|after| key >= after)),
            Order::Descending => {
                streams.retain(|key| after.is_none_or(|after| key <= after));
                streams.reverse();
            }
        }
        Ok(streams)
    }

    async fn rows(
        &self,
        query: &Query,
        stream: &StreamKey,
        after: Option<Identity>,
        rows: usize,
    ) -> Result<bytes::Bytes, Error> {
        let (than, order) = match query.order {
            Order::Ascending => (">", "ASC"),
            Order::Descending => ("<", "DESC"),
        };
        let mut conditions = vec![
            "venue = {venue:String}".to_owned(),
            "market = {market:String}".to_owned(),
            "symbol = {symbol:String}".to_owned(),
        ];
        if after.is_some() {
            // The first half is what the primary key understands.
            conditions.push(format!(
                "identity_major {than}= {{major:UInt64}} AND (identity_major {than} {{major:UInt64}} \
                 OR identity_minor {than} {{minor:UInt64}})"
            ));
        }
        conditions.extend(times(query).map(str::to_owned));
        let sql = format!(
            "SELECT {} FROM {} WHERE {} ORDER BY identity_major {order}, \
             identity_minor {order} LIMIT {{limit:UInt64}}",
            names(self.kind),
            self.table(),
            conditions.join(" AND ")
        );
        let mut statement = self.of(&sql, stream).param("limit", rows);
        if let Some(Identity { major, minor }) = after {
            statement = statement.param("major", major).param("minor", minor);
        }
        self.fetch("read rows", timed(statement, query)).await
    }

    /// How many rows a query would hand out, by stream and day.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server does not answer, or does not come to an end in time.
    pub async fn tally(&self, query: &Query) -> Result<Tallies, Error> {
        let mut conditions = conditions(&query.filter);
        conditions.extend(times(query));
        // In the words of the partition key, so that other days are not read.
        if query.start.is_some() {
            conditions.push("toDate(ifNull(venue_time, recv_time)) >= toDate({from:UInt16})");
        }
        if query.end.is_some() {
            conditions.push("toDate(ifNull(venue_time, recv_time)) <= toDate({to:UInt16})");
        }
        let sql = format!(
            "SELECT venue, market, symbol, toUInt16(toDate(time)) AS day, count(), min(time), \
             max(time) FROM {} FINAL{} GROUP BY venue, market, symbol, day \
             SETTINGS do_not_merge_across_partitions_select_final = 1",
            self.table(),
            such_that(&conditions)
        );
        let mut statement = timed(self.filtered(&sql, &query.filter), query);
        for (name, time) in [("from", query.start), ("to", query.end)] {
            if let Some(time) = time {
                statement = statement.param(name, number(time.day()));
            }
        }
        // The server gives up as well, also if nobody waits any more.
        let limit = TALLY_MAX.as_secs().to_string();
        let statement = statement.with_setting("max_execution_time", limit);
        let bytes = self.fetch("count rows", statement).await?;
        let (mut answer, mut tallies) = (Answer::new(&bytes), Tallies::new());
        while !answer.is_empty() {
            let (key, day) = (stream(&mut answer)?, i64::from(answer.u16()?));
            let (rows, first, last) = (answer.u64()?, answer.time()?, answer.time()?);
            tallies.insert((key, day), Tally { rows, first, last });
        }
        Ok(tallies)
    }

    /// The streams that match, in key order.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server does not answer.
    pub async fn streams(&self, filter: &Filter) -> Result<Vec<StreamKey>, Error> {
        let sql = format!(
            "SELECT DISTINCT venue, market, symbol FROM {}{}",
            self.table(),
            such_that(&conditions(filter))
        );
        let bytes = self.fetch("list streams", self.filtered(&sql, filter)).await?;
        let (mut answer, mut streams) = (Answer::new(&bytes), Vec::new());
        while !answer.is_empty() {
            streams.push(stream(&mut answer)?);
        }
        streams.sort_unstable();
        Ok(streams)
    }

    /// What is stored on these days of each stream that matches, in key order.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server does not answer.
    pub async fn coverage(&self, filter: &Filter, days: &Days) -> Result<Vec<Coverage>, Error> {
        let mut conditions = conditions(filter);
        if *days != ALL_DAYS {
            // In the words of the partition key, so that other days are not read.
            conditions.push(
                "toDate(ifNull(venue_time, recv_time)) BETWEEN toDate({from:UInt16}) \
                 AND toDate({to:UInt16})",
            );
        }
        let sql = format!(
            "SELECT venue, market, symbol, toUInt16(toDate(time)) AS day, count(), \
             min((identity_major, identity_minor)), max((identity_major, identity_minor)), \
             min(time), max(time), sum(toUInt64(1 + identity_major - {first})), min({first}) \
             FROM {} FINAL{} GROUP BY venue, market, symbol, day \
             SETTINGS do_not_merge_across_partitions_select_final = 1",
            self.table(),
            such_that(&conditions),
            first = first_id(self.kind)
        );
        let mut statement = self.filtered(&sql, filter);
        if *days != ALL_DAYS {
            statement = statement.param("from", number(*days.start()));
            statement = statement.param("to", number(*days.end()));
        }
        let bytes = self.fetch("read the coverage", statement).await?;
        let mut answer = Answer::new(&bytes);
        let mut streams: BTreeMap<StreamKey, BTreeMap<i64, Day>> = BTreeMap::new();
        while !answer.is_empty() {
            let (key, day) = (stream(&mut answer)?, i64::from(answer.u16()?));
            let rows = answer.u64()?;
            let (first, last) = (identity(&mut answer)?, identity(&mut answer)?);
            let (time_first, time_last) = (answer.time()?, answer.time()?);
            let (ids, first_id) = (answer.u64()?, answer.u64()?);
            let found = Day { rows, ids, first_id, first, last, time_first, time_last };
            streams.entry(key).or_default().insert(day, found);
        }
        Ok(streams.into_iter().filter_map(|(key, days)| Coverage::of(key, days)).collect())
    }

    /// Which of these ids are stored, of a stream whose ids are contiguous.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server does not answer.
    pub async fn ranges(
        &self,
        stream: &StreamKey,
        ids: &RangeInclusive<u64>,
    ) -> Result<Ranges, Error> {
        let within = format!(
            "FROM {} WHERE venue = {{venue:String}} AND market = {{market:String}} \
             AND symbol = {{symbol:String}} \
             AND identity_major BETWEEN {{from:UInt64}} AND {{to:UInt64}}",
            self.table()
        );
        let statement = |sql: &str, from: u64, to: u64| {
            self.of(sql, stream).param("from", from).param("to", to)
        };
        let first = first_id(self.kind);
        let sql = format!("SELECT count(), min({first}), max(identity_major) {within}");
        let ends = statement(&sql, *ids.start(), *ids.end());
        let bytes = self.fetch("look for ids", ends).await?;
        let mut answer = Answer::new(&bytes);
        let (rows, lowest, to) = (answer.u64()?, answer.u64()?, answer.u64()?);
        let mut from = lowest.max(*ids.start());
        let mut ranges = Ranges::default();
        if rows == 0 {
            return Ok(ranges);
        }
        let sql = format!(
            "SELECT before, id FROM (SELECT {first} AS id, \
             lagInFrame(identity_major, 1, identity_major) OVER \
             (ORDER BY identity_major ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before \
             {within}) WHERE id > before AND id - before > 1 ORDER BY id LIMIT {{limit:UInt64}}"
        );
        let breaks = statement(&sql, *ids.start(), to).param("limit", HOLES_MAX + 1);
        let bytes = self.fetch("look for holes", breaks).await?;
        let mut answer = Answer::new(&bytes);
        while !answer.is_empty() {
            let (before, id) = (answer.u64()?, answer.u64()?);
            ranges.known.push((from, before));
            from = id;
        }
        if ranges.known.len() > HOLES_MAX {
            ranges.known.push((from, from));
            ranges.through = Some(from);
        } else {
            ranges.known.push((from, to));
        }
        Ok(ranges)
    }

    /// How much there is.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server does not answer.
    pub async fn stats(&self) -> Result<Stats, Error> {
        let connection = self.warehouse.connection();
        let sql = format!(
            "SELECT count(), sum(rows), sum(bytes_on_disk) FROM {} \
             WHERE active AND database = {{database:String}} AND table = {{table:String}}",
            connection.layout().system("parts")
        );
        let statement = connection.query(&sql).param("database", connection.database());
        let statement = statement.param("table", connection.layout().held(self.kind));
        let bytes = self.fetch("read the size", statement).await?;
        let mut answer = Answer::new(&bytes);
        Ok(Stats { parts: answer.u64()?, rows: answer.u64()?, bytes: answer.u64()? })
    }

    pub(crate) fn table(&self) -> String {
        let layout = self.warehouse.connection().layout();
        format!("{}.{}", layout.database(), layout.all(self.kind))
    }

    /// A statement about one stream.
    pub(crate) fn of(&self, sql: &str, stream: &StreamKey) -> Statement {
        let statement = self.warehouse.connection().query(sql);
        let statement = statement.param("venue", stream.venue.as_str());
        let statement = statement.param("market", stream.market.as_str());
        statement.param("symbol", stream.symbol.as_str())
    }

    /// A statement with the [`conditions`] of a filter.
    fn filtered(&self, sql: &str, filter: &Filter) -> Statement {
        let mut statement = self.warehouse.connection().query(sql);
        if let Some(venue) = filter.venue {
            statement = statement.param("venue", venue.as_str());
        }
        if let Some(market) = filter.market {
            statement = statement.param("market", market.as_str());
        }
        if let Some(symbol) = &filter.symbol {
            statement = statement.param("symbol", symbol.as_str());
        }
        statement
    }

    async fn fetch(
        &self,
        action: &'static str,
        statement: Statement,
    ) -> Result<bytes::Bytes, Error> {
        self.warehouse.connection().fetch(action, statement).await
    }
}

/// How many rows to ask for next, when `read` rows had `bytes`.
fn next_rows(bytes: usize, read: usize) -> usize {
    (PAGE_BYTES_MAX / (bytes / read.max(1)).max(1)).clamp(1, PAGE_ROWS_MAX + 1)
}

/// The conditions of a query's range of time, whose values [`timed`] adds.
fn times(query: &Query) -> impl Iterator<Item = &'static str> + use<> {
    let start = "ifNull(venue_time, recv_time) >= fromUnixTimestamp64Nano({start:Int64}, 'UTC')";
    let end = "ifNull(venue_time, recv_time) < fromUnixTimestamp64Nano({end:Int64}, 'UTC')";
    [query.start.map(|_| start), query.end.map(|_| end)].into_iter().flatten()
}

fn timed(mut statement: Statement, query: &Query) -> Statement {
    for (name, given) in [("start", query.start), ("end", query.end)] {
        if let Some(time) = given {
            statement = statement.param(name, time.as_i64());
        }
    }
    statement
}

fn conditions(filter: &Filter) -> Vec<&'static str> {
    let given = [
        (filter.venue.is_some(), "venue = {venue:String}"),
        (filter.market.is_some(), "market = {market:String}"),
        (filter.symbol.is_some(), "symbol = {symbol:String}"),
    ];
    given.iter().filter(|(given, _)| *given).map(|(_, condition)| *condition).collect()
}

/// The `WHERE` of a statement, if it needs one.
fn such_that(conditions: &[&str]) -> String {
    if conditions.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", conditions.join(" AND "))
    }
}

fn stream(answer: &mut Answer<'_>) -> Result<StreamKey, Error> {
    Ok(StreamKey { venue: answer.name()?, market: answer.name()?, symbol: answer.name()? })
}

fn identity(answer: &mut Answer<'_>) -> Result<Identity, Error> {
    Ok(Identity { major: answer.u64()?, minor: answer.u64()? })
}
