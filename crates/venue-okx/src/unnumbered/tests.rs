//! Ring 1: the checksum, and the ids that are given to frames without any.

use super::*;
use crate::books::levels;
use crate::contract::ContractSize;
use crate::fields::Text;
use proptest::prelude::*;
use std::borrow::Cow;
use venue::ParseError;

const BIDS: &[(&str, &str)] = &[("3366.1", "7")];
const ASKS: &[(&str, &str)] = &[("3366.8", "9"), ("3368", "8"), ("3372", "8")];
const CHECKSUM: i64 = 831_078_360;

/// The levels of a side as they are written.
type Written<'a> = &'a [(&'a str, &'a str)];

fn texts<'a>(side: &[(&'a str, &'a str)]) -> Vec<TextLevel<'a>> {
    let text = |text| Text(Cow::Borrowed(text));
    side.iter().map(|(price, qty)| TextLevel { price: text(price), qty: text(qty) }).collect()
}

/// A book and the time of its last frame.
#[derive(Default)]
struct Run(Unnumbered);

impl Run {
    fn take(
        &mut self,
        is_snapshot: bool,
        millis: i64,
        (bids, asks): (Written<'_>, Written<'_>),
        checksum: i64,
    ) -> Result<Ids, ParseError> {
        let venue_time = UnixNanos::from_millis(millis).unwrap();
        let (bid_texts, ask_texts) = (texts(bids), texts(asks));
        let bids = levels(&bid_texts, ContractSize::ONE).unwrap();
        let asks = levels(&ask_texts, ContractSize::ONE).unwrap();
        let (bids, asks) = ((&*bids, &*bid_texts), (&*asks, &*ask_texts));
        self.0.number("A-B", &Frame { is_snapshot, venue_time, checksum, bids, asks })
    }

    fn begin(millis: i64) -> Self {
        let mut run = Self::default();
        let ids = run.take(true, millis, (BIDS, ASKS), CHECKSUM).unwrap();
        assert_eq!(ids, (u64::try_from(millis).unwrap() * 1_000, None));
        run
    }
}

/// The checksum of the texts themselves.
fn checksum_of(text: &str) -> i64 {
    i64::from(crc32fast::hash(text.as_bytes()).cast_signed())
}

#[test]
fn the_published_examples_agree() {
    let text = "3366.1:7:3366.8:9:3368:8:3372:8";
    assert_eq!(checksum_of(text), CHECKSUM);
    Run::begin(5);
}

#[test]
fn ids_are_microseconds_and_chain_while_the_checksum_agrees() {
    let mut run = Run::begin(5);
    let more = checksum_of("3366.1:7:3366.8:9:3366.0:1.50:3368:8:3372:8");
    assert_eq!(run.take(false, 5, (&[("3366.0", "1.50")], &[]), more), Ok((5_001, Some(5_000))));
    assert_eq!(run.take(false, 9, (&[("3366", "0")], &[]), CHECKSUM), Ok((9_000, Some(5_001))));
    // A clock that goes back does not take the ids with it.
    assert_eq!(run.take(false, 8, (&[("3366.0", "1.50")], &[]), more), Ok((9_001, Some(9_000))));
}

#[test]
fn a_frame_that_comes_twice_says_that_nothing_happened() {
    let mut run = Run::begin(5);
    let more = checksum_of("3366.1:7:3366.8:9:3366:1:3368:8:3372:8");
    let update: &[(&str, &str)] = &[("3366", "1")];
    assert_eq!(run.take(false, 6, (update, &[]), more), Ok((6_000, Some(5_000))));
    assert_eq!(run.take(false, 6, (update, &[]), more), Ok((6_000, Some(6_000))));
    assert_eq!(run.take(false, 7, (update, &[]), more), Ok((7_000, Some(6_000))));
}

#[test]
fn a_checksum_that_does_not_agree_breaks_the_chain_until_the_next_snapshot() {
    let mut run = Run::begin(5);
    // A quantity written otherwise is another checksum.
    let wrong = checksum_of("3366.1:7.0:3366.8:9:3368:8:3372:8");
    assert_eq!(run.take(false, 6, (BIDS, &[]), wrong), Ok((6_000, Some(5_999))));
    assert_eq!(run.take(false, 6, (BIDS, &[]), CHECKSUM), Ok((6_002, Some(6_001))));
    assert_eq!(run.take(true, 7, (BIDS, ASKS), CHECKSUM), Ok((7_000, None)));
    assert_eq!(run.take(false, 8, (BIDS, &[]), CHECKSUM), Ok((8_000, Some(7_000))));
    // A frame was lost that may have been of this book, though the best levels agree.
    run.0.distrust();
    assert_eq!(run.take(false, 9, (BIDS, &[]), CHECKSUM), Ok((9_000, Some(8_999))));
}

#[test]
fn a_snapshot_that_does_not_have_its_checksum_is_refused() {
    let mut run = Run::begin(5);
    let error = run.take(true, 6, (BIDS, ASKS), CHECKSUM + 1).unwrap_err();
    assert_eq!(error.reason, Reject::Unverifiable);
    assert_eq!(run.take(false, 7, (BIDS, &[]), CHECKSUM), Ok((7_000, Some(6_999))));
    // An update before any snapshot cannot be whole, whatever it carries.
    let mut run = Run::default();
    assert_eq!(run.take(false, 7, (BIDS, ASKS), CHECKSUM), Ok((7_000, Some(6_999))));
}

#[test]
fn only_the_best_levels_are_in_the_checksum() {
    let prices: Vec<String> = (0..40).map(|number| (1_000 - number).to_string()).collect();
    let side: Vec<_> = prices.iter().map(|price| (price.as_str(), "1")).collect();
    let text: Vec<_> = prices[..25].iter().map(|price| format!("{price}:1")).collect();
    let mut run = Run::default();
    let (all, cut) = (checksum_of(&text.join(":")), prices[30].as_str());
    assert!(run.take(true, 1, (&side, &[]), all).is_ok());
    assert_eq!(run.take(false, 2, (&[(cut, "0")], &[]), all), Ok((2_000, Some(1_000))));
    // The level behind the 25th moves up once one before it is gone.
    let text: Vec<_> = prices[1..26].iter().map(|price| format!("{price}:1")).collect();
    let moved = checksum_of(&text.join(":"));
    assert_eq!(run.take(false, 3, (&[("1000", "0")], &[]), moved), Ok((3_000, Some(2_000))));
}

proptest! {
    /// Against an own book: every frame is right, wrong or lost, and only a whole chain chains.
    #[test]
    fn ids_chain_exactly_as_long_as_nothing_was_lost(
        steps in proptest::collection::vec((0_u8..4, 0_usize..6, 0_usize..3, 0_i64..3), 1..40),
    ) {
        const QTYS: [&str; 3] = ["0", "1", "2.50"];
        let prices = ["10", "11", "12", "13", "14", "15"];
        let (mut run, mut now) = (Run::begin(1), 1);
        let mut book: BTreeMap<usize, &str> = BTreeMap::new();
        let (mut last, mut whole) = (1_000, true);
        for (step, price, qty, wait) in steps {
            now += wait;
            match QTYS[qty] {
                "0" => book.remove(&price),
                qty => book.insert(price, qty),
            };
            // Bids of the snapshot come first, then the book's, the highest first.
            let bids = book.iter().rev().map(|(at, qty)| (prices[*at], *qty));
            let bids: Vec<_> = BIDS.iter().copied().chain(bids).collect();
            let mut text = Vec::new();
            for at in 0..bids.len().max(ASKS.len()) {
                let level = |side: &[(&str, &str)]| side.get(at).map(|(p, q)| format!("{p}:{q}"));
                text.extend(level(&bids));
                text.extend(level(ASKS));
            }
            let checksum = checksum_of(&text.join(":"));
            let update: &[(&str, &str)] = &[(prices[price], QTYS[qty])];
            let (ids, agrees) = match step {
                0 => (run.take(true, now, (&bids, ASKS), checksum).unwrap(), true),
                1 => (run.take(false, now, (update, &[]), checksum ^ 1).unwrap(), false),
                _ => (run.take(false, now, (update, &[]), checksum).unwrap(), true),
            };
            whole = if step == 0 { true } else { whole && agrees };
            let chains = ids.1.is_none_or(|prev| prev == last);
            prop_assert_eq!(chains, whole);
            prop_assert!(ids.0 > last || ids == (last, Some(last)));
            last = ids.0;
        }
    }
}
