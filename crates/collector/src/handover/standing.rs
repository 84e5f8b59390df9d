//! Where a market stands that is begun while others are recorded.

use super::{Handover, Key, Known};
use crate::block::Run;
use model::{Market, Venue};
use std::collections::BTreeMap;
use wire::DurableSubject;

impl Handover {
    /// The last ids of a market as they will be once what is `held` of it is handed over. What of that
    /// is lost instead is put on record as missing by itself.
    pub(crate) fn standing<'a>(
        &self,
        of: (Venue, Market),
        held: impl Iterator<Item = (DurableSubject, &'a [Run])>,
    ) -> BTreeMap<Key, u64> {
        let is_ours =
            |(key, _): &(&Key, &Known)| (key.instrument.venue, key.instrument.market) == of;
        let ours = self.keys.iter().filter(is_ours);
        let keys = ours.map(|(key, known)| (key.clone(), known.clone())).collect();
        let mut then = Self { keys, breaks: self.breaks.clone(), ..Self::default() };
        held.for_each(|(subject, runs)| then.handed(subject, runs));
        then.last_ids()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::tests::{gap, instrument, run};
    use model::{Cause, Gap, Kind};
    use std::sync::Arc;

    #[test]
    fn a_market_stands_where_what_it_handed_in_ends_though_it_is_on_its_way() {
        let mut handover = Handover::default();
        let of = |kind| DurableSubject::of(kind, &instrument("BTC-USDT"));
        handover.handed(of(Kind::Trade), &[run(Kind::Trade, 5, 9)]);
        let last = |market, held: &[(DurableSubject, &[Run])]| {
            let standing = handover.standing((Venue::Binance, market), held.iter().copied());
            standing.into_values().collect::<Vec<_>>()
        };
        assert_eq!(last(Market::Spot, &[]), [9]);
        assert!(last(Market::Perp, &[]).is_empty(), "it is another market");
        let trades = [run(Kind::Trade, 10, 12), Run { rest: true, ..run(Kind::Trade, 40, 50) }];
        let trades: (_, &[Run]) = (of(Kind::Trade), &trades);
        assert_eq!(last(Market::Spot, &[trades]), [12], "what was fetched is no end of a stream");
        // The venue was asked for the newest trade: the next question begins behind this record.
        let asked = Gap { cause: Cause::Restart, ..gap(12, 21) };
        let asked = [Run { gap: Some(Arc::new(asked)), ..run(Kind::Trade, 13, 20) }];
        let asked: (_, &[Run]) = (of(Kind::Gap), &asked);
        assert_eq!(last(Market::Spot, &[trades, asked]), [20]);
    }
}
