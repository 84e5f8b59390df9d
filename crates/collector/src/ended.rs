//! Forgetting where the streams ended of what the venues list no more: contracts end every day, and
//! the checkpoint names every stream.

use crate::board::Board;
use crate::handover::Handover;
use crate::publisher::Parts;
use std::time::Duration;
use tokio::time::Instant;

/// How often is looked. Longer than anything of a stream is on its way.
const LOOK_INTERVAL: Duration = Duration::from_hours(1);

/// When is looked next.
#[derive(Debug)]
pub(crate) struct Ended {
    look_at: Instant,
}

impl Ended {
    /// The first look is due after the first interval.
    pub(crate) fn new() -> Self {
        Self { look_at: Instant::now() + LOOK_INTERVAL }
    }
}

impl Parts {
    /// Forgets what has ended, if a look is due. While gaps of an earlier run are `unrecorded`, or
    /// blocks wait in the spool, there is no look.
    pub(crate) fn forget_ended(&mut self, unrecorded: bool) {
        let now = Instant::now();
        if now < self.ended.look_at {
            return;
        }
        self.ended.look_at = now + LOOK_INTERVAL;
        if !unrecorded && !self.lane.is_behind() {
            look(&mut self.handover, &self.board);
        }
    }
}

fn look(handover: &mut Handover, board: &Board) {
    let (listed, markets) = board.listed();
    // Of a market that is not recorded any more nothing is known.
    handover.forget(|id| markets.contains(&(id.venue, id.market)) && !listed.contains(id));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::tests::{instrument, run};
    use model::{Instrument, Kind, Listing, Market, QtyUnit, Venue};
    use std::sync::Arc;
    use wire::DurableSubject;

    fn listed(symbol: &str) -> Instrument {
        Instrument {
            id: instrument(symbol),
            base: Arc::from("BTC"),
            quote: Arc::from("USDT"),
            tick_size: None,
            lot_size: None,
            contract_size: None,
            qty_unit: QtyUnit::Base,
            expiry: None,
            strike: None,
            option_side: None,
            funding_hours: None,
            listing: Listing::Trading,
        }
    }

    #[test]
    fn what_a_venue_lists_no_more_is_forgotten_once_its_list_was_read() {
        let mut handover = Handover::default();
        let subject = DurableSubject::of(Kind::Trade, &instrument("BTC-USDT"));
        handover.handed(subject, &[run(Kind::Trade, 5, 9)]);
        let board = Board::default();
        let looks = |handover: &mut Handover| {
            (0..2).for_each(|_| look(handover, &board));
            handover.last_ids().len()
        };
        assert_eq!(looks(&mut handover), 1, "no list was read");
        let list = |symbol: &str| -> Arc<[Instrument]> { Arc::from([listed(symbol)]) };
        let spot = (Venue::Binance, Market::Spot);
        board.set_list(spot, list("BTC-USDT"));
        assert_eq!(looks(&mut handover), 1, "it is listed");
        board.set_list(spot, list("ETH-USDT"));
        assert_eq!(looks(&mut handover), 0);
    }
}
