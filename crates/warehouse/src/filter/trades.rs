//! Trades: a row may stand for several ids, and counts as stored if one of them is, whichever row has
//! it. Stored beside that row, its quantity would count twice.

use super::{Filter, IDS_MAX, Known, Run};
use crate::client::Connection;
use crate::columns::first_id;
use crate::cut::Stream;
use crate::decode::Answer;
use crate::error::Error;
use crate::native::u64_of;
use catalog::{Extent, StreamKey, mark_overlaps};
use model::{Identity, Kind};

/// Ids between the ends of what one statement asks about, which answers with every row there.
const REACH_MAX: u64 = 1_000_000;

impl Known {
    /// Adds rows in ascending order, those below `from` not counted.
    pub(super) fn add_extents(&mut self, extents: &[Extent]) {
        let below = extents.partition_point(|extent| extent.identity.major < self.from);
        let extents = &extents[below..];
        if extents.iter().any(Extent::is_wide) {
            for extent in extents {
                let (first, last) = extent.ids();
                self.add(Run { minor: extent.identity.minor, first, last });
            }
        } else {
            let identities: Vec<Identity> = extents.iter().map(|extent| extent.identity).collect();
            self.add_all(&identities);
        }
    }

    /// Whether one of some neighbouring ids is stored.
    fn touches(&self, (first, last): (u64, u64)) -> bool {
        if self.high.is_none_or(|high| first > high) {
            return false;
        }
        let range = self.ranges.get(&0).and_then(|ranges| ranges.range(..=last).next_back());
        range.is_some_and(|(_, end)| *end >= first)
    }
}

impl Filter {
    /// Says of each row of a stream of trades, in the order of identity, whether it is to be stored.
    pub(super) async fn fresh_trades(
        &self,
        connection: &Connection,
        kind: Kind,
        stream: &Stream,
    ) -> Result<Vec<bool>, Error> {
        let known = self.streams.get(&stream.key);
        if let Some(known) = known.filter(|known| stream.is_single_from(known.from)) {
            return Ok(stream.identities.iter().map(|identity| !known.has(*identity)).collect());
        }
        let extents = stream.extents();
        let is_far = |extent: &&Extent| known.is_none_or(|known| extent.first < known.from);
        let far: Vec<Extent> = extents.iter().filter(is_far).copied().collect();
        let rows = rows_near(connection, kind, &stream.key, &far).await?;
        let is_known = |extent: &Extent| known.is_some_and(|known| known.touches(extent.ids()));
        let mut stored: Vec<bool> =
            extents.iter().map(|extent| is_known(extent) || extent.is_among(&rows)).collect();
        mark_overlaps(&extents, &stream.rows, &mut stored);
        Ok(stored.into_iter().map(|stored| !stored).collect())
    }

    /// Notes what is stored now.
    pub(crate) fn add_extents(&mut self, stream: &StreamKey, extents: &[Extent]) {
        if let Some(known) = self.streams.get_mut(stream) {
            known.add_extents(extents);
        }
    }
}

/// Asks the server for the rows that these may touch, and gets others between them: in the order of
/// identity.
async fn rows_near(
    connection: &Connection,
    kind: Kind,
    stream: &StreamKey,
    extents: &[Extent],
) -> Result<Vec<Extent>, Error> {
    let table = format!("{}.{}", connection.database(), connection.layout().all(kind));
    let of_stream =
        "venue = {venue:String} AND market = {market:String} AND symbol = {symbol:String}";
    // The first row above may reach down to what is asked about; those behind it do not.
    let sql = format!(
        "SELECT identity_major, {} FROM {table} WHERE {of_stream} \
         AND identity_major BETWEEN {{from:UInt64}} AND greatest({{to:UInt64}}, ifNull(\
         (SELECT identity_major FROM {table} WHERE {of_stream} AND identity_major > {{to:UInt64}} \
         ORDER BY identity_major LIMIT 1), 0)) ORDER BY identity_major",
        first_id(kind)
    );
    if extents.is_empty() {
        return Ok(Vec::new());
    }
    let (mut rows, mut rest): (Vec<Extent>, &[Extent]) = (Vec::new(), extents);
    while let Some(from) = rest.iter().map(|extent| extent.first).min() {
        let near = |extent: &Extent| extent.identity.major.saturating_sub(from) <= REACH_MAX;
        let (some, more) = rest.split_at(rest.partition_point(near).clamp(1, IDS_MAX));
        rest = more;
        let to = some.last().map_or(from, |extent| extent.identity.major);
        let query = connection
            .query(&sql)
            .param("venue", stream.venue.as_str())
            .param("market", stream.market.as_str())
            .param("symbol", stream.symbol.as_str())
            .param("from", from)
            .param("to", to);
        let answer = connection.fetch("read identities", query).await?;
        let mut answer = Answer::new(&answer);
        while !answer.is_empty() {
            let identity = Identity { major: answer.u64()?, minor: 0 };
            rows.push(Extent { identity, first: answer.u64()? });
        }
    }
    rows.sort_unstable();
    tracing::trace!(%kind, %stream, asked = u64_of(extents.len()), "asked for older identities");
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trades(trades: &[(u64, u64)]) -> Vec<Extent> {
        trades.iter().map(|(seq, count)| Extent::counted(*seq, Some(*count))).collect()
    }

    #[test]
    fn a_row_is_known_by_every_id_that_it_stands_for() {
        let mut known = Known { from: 5, ..Known::default() };
        known.add_extents(&trades(&[(4, 2), (5, 1), (8, 3), (12, 2)]));
        let touched = |first, last| known.touches((first, last));
        assert!((5..=8).all(|id| touched(id, id)));
        assert!(![3, 4, 9, 10, 13].iter().any(|id| touched(*id, *id)));
        assert!(touched(9, 11) && touched(2, 20) && !touched(9, 10) && !touched(13, 20));
        known.add_extents(&trades(&[(9, 1), (10, 1)]));
        assert_eq!(known.ranges[&0], [(5, 12)].into(), "neighbours are one range");
    }
}
