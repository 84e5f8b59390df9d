//! The identity filter: which rows are stored already.
//!
//! Exact for everything that is stored, and in memory almost always. Of each stream the filter knows
//! every stored identity from some point on; what is below that point is asked of the server.

use crate::client::Connection;
use crate::columns::first_id;
use crate::cut::Stream;
use crate::decode::Answer;
use crate::error::Error;
use crate::native::u64_of;
use catalog::{Extent, StreamKey};
use model::{Identity, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

mod trades;

/// Ranges of identities kept per stream. Ids without holes are one range; of others it is as many
/// rows, some seconds of a busy book, and whatever is older is asked of the server.
const RANGES_MAX: usize = 256;
/// Rows read at most to learn what is stored of a stream from some point on.
const TAIL_MAX: usize = 4_096;
/// Streams asked about in one statement.
const STREAMS_MAX: usize = 64;
/// Identities asked about in one statement; as a form field they stay below the server's limit of
/// 128 KiB (`http_max_field_value_size`).
const IDS_MAX: usize = 4_096;

/// Everything that is stored of a stream from `from` on.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Known {
    from: u64,
    /// The highest major that is stored; what arrives mostly lies above it.
    high: Option<u64>,
    /// By minor: the first and the last major of each range.
    ranges: BTreeMap<u64, BTreeMap<u64, u64>>,
    count: usize,
}

/// Neighbouring majors with one minor.
#[derive(Debug, Clone, Copy)]
struct Run {
    minor: u64,
    first: u64,
    last: u64,
}

impl Known {
    fn has(&self, identity: Identity) -> bool {
        if self.high.is_none_or(|high| identity.major > high) {
            return false;
        }
        let ranges = self.ranges.get(&identity.minor);
        let range = ranges.and_then(|ranges| ranges.range(..=identity.major).next_back());
        range.is_some_and(|(_, last)| *last >= identity.major)
    }

    /// Adds identities in ascending order, those below `from` not counted.
    fn add_all(&mut self, identities: &[Identity]) {
        let mut runs = runs(identities);
        if runs.len() > 2 * RANGES_MAX {
            // Far more than is kept: the lower ones need not be taken in to be forgotten.
            let mut lasts: Vec<u64> = runs.iter().map(|run| run.last).collect();
            lasts.sort_unstable();
            self.from = self.from.max(lasts[lasts.len() - RANGES_MAX]);
            self.drop_below_from();
        }
        runs.retain(|run| run.last >= self.from);
        for run in runs {
            self.add(run);
        }
    }

    fn add(&mut self, Run { minor, first, last }: Run) {
        self.high = self.high.max(Some(last));
        let ranges = self.ranges.entry(minor).or_default();
        let mut range = (first, last);
        // What it overlaps or touches becomes one range with it.
        let reach = last.saturating_add(1);
        while let Some((known_first, known_last)) =
            ranges.range(..=reach).next_back().map(|(first, last)| (*first, *last))
        {
            if known_last.saturating_add(1) < first {
                break;
            }
            range = (range.0.min(known_first), range.1.max(known_last));
            ranges.remove(&known_first);
            self.count -= 1;
        }
        ranges.insert(range.0, range.1);
        self.count += 1;
        if self.count > 2 * RANGES_MAX {
            self.forget();
        }
    }

    /// Forgets the lower half of the ranges.
    fn forget(&mut self) {
        let mut lasts: Vec<u64> =
            self.ranges.values().flat_map(|ranges| ranges.values().copied()).collect();
        lasts.sort_unstable();
        self.from = self.from.max(lasts[lasts.len() - RANGES_MAX]);
        self.drop_below_from();
    }

    fn drop_below_from(&mut self) {
        for ranges in self.ranges.values_mut() {
            ranges.retain(|_, last| *last >= self.from);
        }
        self.ranges.retain(|_, ranges| !ranges.is_empty());
        self.count = self.ranges.values().map(BTreeMap::len).sum();
    }
}

/// The runs of identities in ascending order, by where they begin.
fn runs(identities: &[Identity]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    // Where the last run of a minor is; of most kinds there is one minor, of books there are a few.
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    for Identity { major, minor } in identities.iter().copied() {
        let at = match runs.last() {
            Some(run) if run.minor == minor => Some(runs.len() - 1),
            Some(_) | None => open.get(&minor).copied(),
        };
        if let Some(run) = at.map(|at| &mut runs[at])
            && run.last.saturating_add(1) >= major
        {
            run.last = run.last.max(major);
            continue;
        }
        open.insert(minor, runs.len());
        runs.push(Run { minor, first: major, last: major });
    }
    runs
}

/// The filter of one table.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    streams: BTreeMap<StreamKey, Known>,
}

impl Filter {
    /// Says of each stream's identities, ascending, which are not stored yet; in the order of the
    /// streams.
    pub(crate) async fn fresh(
        &mut self,
        connection: &Connection,
        kind: Kind,
        streams: &[Stream],
    ) -> Result<Vec<Vec<bool>>, Error> {
        self.learn(connection, kind, streams).await?;
        let mut fresh = Vec::with_capacity(streams.len());
        for stream in streams {
            if Extent::may_be_wide(kind) {
                fresh.push(self.fresh_trades(connection, kind, stream).await?);
                continue;
            }
            let Stream { key: stream, identities, .. } = stream;
            let known = self.streams.get(stream);
            // Ascending, so those below the point from which everything is known come first.
            let far = match known {
                Some(known) => identities.partition_point(|identity| identity.major < known.from),
                None => identities.len(),
            };
            let (far, near) = identities.split_at(far);
            let stored = ask(connection, kind, stream, far).await?;
            let far = far.iter().map(|identity| !stored.contains(identity));
            let near = near.iter().map(|id| !known.is_some_and(|known| known.has(*id)));
            fresh.push(far.chain(near).collect());
        }
        Ok(fresh)
    }

    /// Notes what is stored now.
    pub(crate) fn add(&mut self, stream: &StreamKey, identities: &[Identity]) {
        let Some(known) = self.streams.get_mut(stream) else { return };
        let far = identities.partition_point(|identity| identity.major < known.from);
        known.add_all(&identities[far..]);
    }

    /// Reads of every stream that is new here what is stored from its lowest identity on.
    async fn learn(
        &mut self,
        connection: &Connection,
        kind: Kind,
        streams: &[Stream],
    ) -> Result<(), Error> {
        let unknown: Vec<(&StreamKey, u64)> = streams
            .iter()
            .filter(|stream| !self.streams.contains_key(&stream.key))
            .filter_map(|stream| Some((&stream.key, stream.lowest()?)))
            .collect();
        for streams in unknown.chunks(STREAMS_MAX) {
            let tails = tails(connection, kind, streams).await?;
            for (stream, from) in streams {
                let tail = tails.get(*stream).map_or(&[][..], Vec::as_slice);
                // With more than that the end of the stream was not reached, and the rows of this
                // cut are asked about one by one.
                if tail.len() <= TAIL_MAX {
                    let mut known = Known { from: *from, ..Known::default() };
                    known.add_extents(tail);
                    self.streams.insert((*stream).clone(), known);
                }
            }
        }
        Ok(())
    }
}

/// What is stored of some streams from a major on, one row more than [`TAIL_MAX`] of each.
async fn tails(
    connection: &Connection,
    kind: Kind,
    streams: &[(&StreamKey, u64)],
) -> Result<BTreeMap<StreamKey, Vec<Extent>>, Error> {
    let mut sql = format!(
        "SELECT venue, market, symbol, identity_major, identity_minor, {} FROM {}.{} WHERE ",
        first_id(kind),
        connection.database(),
        connection.layout().all(kind)
    );
    for index in 0..streams.len() {
        let or = if index == 0 { "" } else { " OR " };
        write!(
            sql,
            "{or}(venue = {{venue{index}:String}} AND market = {{market{index}:String}} \
             AND symbol = {{symbol{index}:String}} AND identity_major >= {{from{index}:UInt64}})"
        )
        .expect("a string takes everything");
    }
    write!(
        sql,
        " ORDER BY venue, market, symbol, identity_major, identity_minor \
         LIMIT {} BY venue, market, symbol",
        TAIL_MAX + 1
    )
    .expect("a string takes everything");
    let mut query = connection.query(&sql);
    for (index, (stream, from)) in streams.iter().enumerate() {
        query = query
            .param(&format!("venue{index}"), stream.venue.as_str())
            .param(&format!("market{index}"), stream.market.as_str())
            .param(&format!("symbol{index}"), stream.symbol.as_str())
            .param(&format!("from{index}"), from);
    }
    let answer = connection.fetch("read identities", query).await?;
    let (mut answer, mut tails) = (Answer::new(&answer), BTreeMap::<_, Vec<Extent>>::new());
    while !answer.is_empty() {
        let (venue, market, symbol) = (answer.name()?, answer.name()?, answer.name()?);
        let identity = Identity { major: answer.u64()?, minor: answer.u64()? };
        let extent = Extent { identity, first: answer.u64()? };
        tails.entry(StreamKey { venue, market, symbol }).or_default().push(extent);
    }
    Ok(tails)
}

/// Asks the server which of these identities are stored.
async fn ask(
    connection: &Connection,
    kind: Kind,
    stream: &StreamKey,
    identities: &[Identity],
) -> Result<BTreeSet<Identity>, Error> {
    let mut stored = BTreeSet::new();
    let sql = format!(
        "SELECT identity_major, identity_minor FROM {}.{} WHERE venue = {{venue:String}} \
         AND market = {{market:String}} AND symbol = {{symbol:String}} \
         AND identity_major IN {{ids:Array(UInt64)}}",
        connection.database(),
        connection.layout().all(kind)
    );
    for identities in identities.chunks(IDS_MAX) {
        let ids: Vec<u64> = identities.iter().map(|identity| identity.major).collect();
        let query = connection
            .query(&sql)
            .param("venue", stream.venue.as_str())
            .param("market", stream.market.as_str())
            .param("symbol", stream.symbol.as_str())
            .param("ids", ids);
        let answer = connection.fetch("read identities", query).await?;
        let mut answer = Answer::new(&answer);
        while !answer.is_empty() {
            stored.insert(Identity { major: answer.u64()?, minor: answer.u64()? });
        }
    }
    tracing::trace!(%kind, %stream, asked = u64_of(identities.len()), "asked for older identities");
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_added_is_known_from_a_point_on_and_nothing_else(
            ids in prop::collection::vec((0_u64..3_000, 0_u64..3), 1..2_000),
            cuts in prop::collection::vec(1_usize..800, 1..20),
        ) {
            let (mut known, mut all) = (Known::default(), BTreeSet::new());
            let mut ids = &ids[..];
            for len in cuts {
                let (cut, rest) = ids.split_at(len.min(ids.len()));
                ids = rest;
                let cut = cut.iter().map(|(major, minor)| Identity { major: *major, minor: *minor });
                // As a cut has them: ascending, each once.
                let cut: Vec<Identity> = BTreeSet::from_iter(cut).into_iter().collect();
                let far = cut.partition_point(|identity| identity.major < known.from);
                known.add_all(&cut[far..]);
                all.extend(cut);
            }
            prop_assert!(known.count <= 2 * RANGES_MAX);
            prop_assert_eq!(known.count, known.ranges.values().map(BTreeMap::len).sum::<usize>());
            for major in known.from..3_001 {
                for minor in 0..3 {
                    let identity = Identity { major, minor };
                    prop_assert_eq!(known.has(identity), all.contains(&identity));
                }
            }
        }
    }
}
