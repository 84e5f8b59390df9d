//! Where a market stands that is begun while others are recorded.

use super::{Handover, Key, is_contiguous, key};
use crate::block::Run;
use model::{Market, Venue};
use std::collections::BTreeMap;

impl Handover {
    /// The last ids of a market: what was handed over, and what is `held` and about to be. If that is
    /// lost instead, it is put on record as missing by itself.
    pub(crate) fn standing<'a>(
        &self,
        of: (Venue, Market),
        held: impl Iterator<Item = &'a Run>,
    ) -> BTreeMap<Key, u64> {
        let is_ours = |key: &Key| (key.instrument.venue, key.instrument.market) == of;
        let handed = self.keys.iter().filter(|(key, known)| is_ours(key) && known.last > 0);
        let mut last_ids: BTreeMap<_, _> =
            handed.map(|(key, known)| (key.clone(), known.last)).collect();
        for run in held.filter(|run| !run.rest && is_contiguous(run.kind)) {
            if let Some((_, last)) = run.ids {
                let known = last_ids.entry(key(run)).or_default();
                *known = (*known).max(last);
            }
        }
        last_ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::tests::{instrument, run};
    use model::Kind;
    use wire::DurableSubject;

    #[test]
    fn a_market_stands_where_what_it_handed_in_ends_though_it_is_on_its_way() {
        let mut handover = Handover::default();
        let subject = DurableSubject::of(Kind::Trade, &instrument("BTC-USDT"));
        handover.handed(subject, &[run(Kind::Trade, 5, 9)]);
        let held = [run(Kind::Trade, 10, 12), Run { rest: true, ..run(Kind::Trade, 40, 50) }];
        let last = |market, held: &[Run]| {
            let standing = handover.standing((Venue::Binance, market), held.iter());
            standing.into_values().collect::<Vec<_>>()
        };
        assert_eq!(last(Market::Spot, &[]), [9]);
        assert_eq!(last(Market::Spot, &held), [12], "what was fetched says nothing of the stream");
        assert_eq!(last(Market::Perp, &[]), [], "it is another market");
    }
}
