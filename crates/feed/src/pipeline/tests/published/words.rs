//! The books of a venue that is made up, and the words in which three say them.

use model::Level;
use std::collections::BTreeMap;
use venue::Adapter;
use venue_binance::{Perp, Spot};
use venue_okx::Spot as Okx;

/// Quantities by price; what is absent has none.
pub(super) type Side = BTreeMap<u64, u64>;

/// What a raw number of the value one is.
const ONE: i128 = 10_i128.pow(18);

/// A book as the venue has it after one of its updates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Levels {
    pub(super) bids: Side,
    pub(super) asks: Side,
}

impl Levels {
    /// Applies absolute quantities, as the venues document it.
    pub(super) fn apply(&mut self, bids: &[Level], asks: &[Level]) {
        for (side, levels) in [(&mut self.bids, bids), (&mut self.asks, asks)] {
            for (price, qty) in levels {
                match whole(qty.raw()) {
                    0 => side.remove(&whole(price.raw())),
                    qty => side.insert(whole(price.raw()), qty),
                };
            }
        }
    }

    pub(super) fn of(bids: &[Level], asks: &[Level]) -> Self {
        let mut levels = Self::default();
        levels.apply(bids, asks);
        levels
    }
}

fn whole(raw: i128) -> u64 {
    assert_eq!(raw % ONE, 0);
    u64::try_from(raw / ONE).unwrap()
}

/// One update of the venue's book.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) prev: u64,
    pub(super) is_bid: bool,
    pub(super) price: u64,
    pub(super) qty: u64,
}

/// Where a snapshot comes from.
pub(super) enum Given {
    Answer { path: &'static str, body: String },
    Frame(String),
}

/// A venue's words.
pub(super) trait Dialect: Adapter + Sized {
    const NAME: &'static str;

    fn adapter() -> Self;
    fn change(change: &Change) -> String;
    fn snapshot(id: u64, levels: &Levels) -> Given;
    fn trade(id: u64) -> String;
}

/// The levels of a side, in words; `more` stands behind each quantity.
fn words(side: &Side, more: &str) -> String {
    let level = |(price, qty): (&u64, &u64)| format!(r#"["{price}","{qty}"{more}]"#);
    side.iter().map(level).collect::<Vec<_>>().join(",")
}

/// The two sides of an update, in words.
fn sides(change: &Change, more: &str) -> (String, String) {
    let level = words(&Side::from([(change.price, change.qty)]), more);
    if change.is_bid { (level, String::new()) } else { (String::new(), level) }
}

fn answer(path: &'static str, id: u64, levels: &Levels) -> Given {
    let (bids, asks) = (words(&levels.bids, ""), words(&levels.asks, ""));
    Given::Answer {
        path,
        body: format!(r#"{{"lastUpdateId":{id},"bids":[{bids}],"asks":[{asks}]}}"#),
    }
}

impl Dialect for Spot {
    const NAME: &'static str = "ABCXYZ";

    fn adapter() -> Self {
        Self::new()
    }

    fn change(change: &Change) -> String {
        let ((bids, asks), Change { first, last, .. }) = (sides(change, ""), change);
        format!(
            r#"{{"e":"depthUpdate","E":1,"s":"ABCXYZ","U":{first},"u":{last},"b":[{bids}],"a":[{asks}]}}"#
        )
    }

    fn snapshot(id: u64, levels: &Levels) -> Given {
        answer("/api/v3/depth?symbol=ABCXYZ&limit=5000", id, levels)
    }

    fn trade(id: u64) -> String {
        format!(
            r#"{{"e":"trade","E":1,"s":"ABCXYZ","t":{id},"p":"1.50000000","q":"2.00000000","T":1,"m":true,"M":true}}"#
        )
    }
}

impl Dialect for Perp {
    const NAME: &'static str = "ABCXYZ";

    fn adapter() -> Self {
        Self::new()
    }

    fn change(change: &Change) -> String {
        let ((bids, asks), Change { first, last, prev, .. }) = (sides(change, ""), change);
        format!(
            r#"{{"e":"depthUpdate","E":1,"T":1,"s":"ABCXYZ","U":{first},"u":{last},"pu":{prev},"b":[{bids}],"a":[{asks}]}}"#
        )
    }

    fn snapshot(id: u64, levels: &Levels) -> Given {
        answer("/fapi/v1/depth?symbol=ABCXYZ&limit=1000", id, levels)
    }

    fn trade(id: u64) -> String {
        format!(
            r#"{{"e":"aggTrade","E":1,"s":"ABCXYZ","a":{id},"p":"1.5","q":"2","f":{id},"l":{id},"T":1,"m":false}}"#
        )
    }
}

/// A frame of OKX's channel of whole books.
fn okx_book(action: &str, (bids, asks): &(String, String), id: u64, prev: i64) -> String {
    format!(
        r#"{{"arg":{{"channel":"books","instId":"ABC-XYZ"}},"action":"{action}","data":[{{"asks":[{asks}],"bids":[{bids}],"ts":"1","checksum":0,"seqId":{id},"prevSeqId":{prev}}}]}}"#
    )
}

impl Dialect for Okx {
    const NAME: &'static str = "ABC-XYZ";

    fn adapter() -> Self {
        Self::new()
    }

    fn change(change: &Change) -> String {
        let prev = i64::try_from(change.prev).unwrap();
        okx_book("update", &sides(change, r#","0","1""#), change.last, prev)
    }

    fn snapshot(id: u64, levels: &Levels) -> Given {
        let side = |side| words(side, r#","0","1""#);
        Given::Frame(okx_book("snapshot", &(side(&levels.bids), side(&levels.asks)), id, -1))
    }

    fn trade(id: u64) -> String {
        format!(
            r#"{{"arg":{{"channel":"trades","instId":"ABC-XYZ"}},"data":[{{"instId":"ABC-XYZ","tradeId":"{id}","px":"1.5","sz":"2","side":"buy","ts":"1","count":"1"}}]}}"#
        )
    }
}
