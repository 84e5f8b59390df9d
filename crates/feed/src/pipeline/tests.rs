//! Ring 1: the pipeline with the Binance spot adapter and frames made here.

mod refused;

use super::*;
use expect_test::{Expect, expect};
use model::{Cause, GapState};
use std::time::Duration;
use venue_binance::Spot;

mod published;
mod tail;

/// A pipeline, its clock, and what it said since last asked.
struct Run {
    pipeline: Pipeline<Spot>,
    now: UnixNanos,
    out: Vec<Output>,
}

impl Run {
    fn new(options: Options) -> Self {
        let pipeline = Pipeline::new(Spot::new(), options);
        Self { pipeline, now: UnixNanos::new(1_000_000_000_000), out: Vec::new() }
    }

    fn frame(&mut self, frame: &str) -> &mut Self {
        self.pipeline.handle_frame(self.now, frame.as_bytes(), &mut self.out).unwrap();
        self
    }

    fn trade(&mut self, seq: u64) -> &mut Self {
        self.frame(&format!(
            r#"{{"e":"trade","E":1,"s":"ABCXYZ","t":{seq},"p":"1.50000000","q":"2.00000000","T":1,"m":true,"M":true}}"#
        ))
    }

    fn bbo(&mut self, id: u64) -> &mut Self {
        self.frame(&format!(r#"{{"u":{id},"s":"ABCXYZ","b":"1.0","B":"1.0","a":"2.0","A":"1.0"}}"#))
    }

    /// A diff that sets one bid.
    fn diff(&mut self, first: u64, last: u64, price: &str, qty: &str) -> &mut Self {
        self.frame(&format!(
            r#"{{"e":"depthUpdate","E":1,"s":"ABCXYZ","U":{first},"u":{last},"b":[["{price}","{qty}"]],"a":[]}}"#
        ))
    }

    fn kline(&mut self, closed: bool) -> &mut Self {
        self.frame(&format!(
            r#"{{"e":"kline","E":1,"s":"ABCXYZ","k":{{"t":0,"T":59999,"i":"1m","o":"1","c":"1","h":"1","l":"1","v":"1","n":1,"x":{closed},"q":"1"}}}}"#
        ))
    }

    fn snapshot(&mut self, id: u64) -> &mut Self {
        let body =
            format!(r#"{{"lastUpdateId":{id},"bids":[["9","1"],["8","1"]],"asks":[["11","1"]]}}"#);
        let path = "/api/v3/depth?symbol=ABCXYZ&limit=5000";
        self.pipeline.handle_rest(self.now, path, body.as_bytes(), &mut self.out).unwrap();
        self
    }

    fn wait(&mut self, seconds: u64) -> &mut Self {
        let end = self.now.plus(Duration::from_secs(seconds));
        while let Some(due) = self.pipeline.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.pipeline.handle_timeout(self.now, &mut self.out);
        }
        self.now = end;
        self
    }

    fn disconnect(&mut self) -> &mut Self {
        let id = self.instrument();
        self.pipeline.handle_disconnect([&*id], self.now, &mut self.out);
        self
    }

    fn instrument(&self) -> Arc<InstrumentId> {
        let adapter = self.pipeline.adapter();
        Arc::clone(adapter.instrument(Slot::first(1).next().unwrap()))
    }

    fn fetches(&mut self) -> usize {
        std::iter::from_fn(|| self.pipeline.next_command()).count()
    }

    fn check(&mut self, expected: Expect) -> &mut Self {
        let text: Vec<_> = self.out.drain(..).map(|output| describe(&output)).collect();
        expected.assert_eq(&text.join("\n"));
        self
    }
}

fn describe(Output { event, lanes }: &Output) -> String {
    let what = match &event.body {
        Body::Book(book) => {
            let (bids, asks) = (book.bids.len(), book.asks.len());
            format!("{} {} bids {bids} asks {asks}", book.book_type, book.last_id)
        }
        Body::Gap(gap) => {
            let id = |id: Option<u64>| id.map_or("?".to_owned(), |id| id.to_string());
            let (after, before) = (id(gap.after_id), id(gap.before_id));
            format!("of {} {after}..{before} {} v{} {}", gap.of, gap.cause, gap.version, gap.state)
        }
        Body::Trade(_)
        | Body::AggTrade(_)
        | Body::Bbo(_)
        | Body::Ticker(_)
        | Body::Kline(_)
        | Body::Mark(_)
        | Body::Funding(_)
        | Body::OpenInterest(_)
        | Body::Liquidation(_)
        | Body::LongShortRatio(_)
        | Body::VolatilityIndex(_)
        | Body::Status(_) => event.identity().major.to_string(),
    };
    let origin = event.origin.map_or(String::new(), |origin| format!(" ({origin})"));
    format!("{} {what}{origin} {lanes:?}", event.kind())
}

#[test]
fn what_is_repeated_is_heard_and_what_is_fetched_is_not() {
    let mut run = Run::new(Options::default());
    run.trade(7).wait(5).trade(7);
    let (id, now) = (run.instrument(), run.now);
    let flow = run.pipeline.flow(&id, Kind::Trade);
    assert_eq!((flow.events, flow.heard), (1, Some(now)));
    assert!(flow.last < flow.heard, "{flow:?}");
    run.diff(5, 9, "9", "1").snapshot(7);
    assert_eq!(run.pipeline.heard().len(), 1);
    assert!(!run.pipeline.heard()[0].is_snapshot);
    assert_eq!(run.pipeline.flow(&id, Kind::Bbo).heard, None);
}

#[test]
fn trades_and_offers_pass_once() {
    let mut run = Run::new(Options::default());
    run.trade(5).trade(6).trade(6).bbo(3).bbo(5).bbo(3).bbo(4).bbo(5).trade(5);
    run.check(expect![[r#"
        trade 5 Both
        trade 6 Both
        bbo 3 Both
        bbo 5 Both
        bbo 4 Both"#]]);
    let repeated: u64 = run.pipeline.counts().repeated().map(|(_, count)| count).sum();
    assert_eq!(repeated, 4);
}

#[test]
fn a_missing_trade_becomes_a_gap_after_a_second_and_a_late_one_heals_it() {
    let mut run = Run::new(Options::default());
    run.trade(5).trade(8).wait(1).check(expect![[r#"
        trade 5 Both
        trade 8 Both
        gap of trade 5..8 sequence v1 open Both"#]]);
    run.trade(7).trade(6).check(expect![[r#"
        trade 7 Both
        trade 6 Both
        gap of trade 5..8 sequence v2 healed Both"#]]);
    let counts = run.pipeline.counts();
    assert_eq!(counts.gaps().map(|(_, count)| count).sum::<u64>(), 1);
    assert_eq!(counts.healed().map(|(_, count)| count).sum::<u64>(), 1);
}

#[test]
fn a_late_trade_heals_nothing_where_the_acknowledgement_does() {
    let mut run = Run::new(Options { heal_when_seen: false, ..Options::default() });
    run.trade(5).trade(7).wait(1).trade(6).trade(6).check(expect![[r#"
        trade 5 Both
        trade 7 Both
        gap of trade 5..7 sequence v1 open Both
        trade 6 Both"#]]);
    assert_eq!(run.pipeline.counts().healed().map(|(_, count)| count).sum::<u64>(), 0);
}

#[test]
fn a_book_is_published_from_its_snapshot_on() {
    let mut run = Run::new(Options::default());
    run.diff(1, 3, "10", "1").diff(4, 6, "10", "2");
    assert_eq!(run.fetches(), 1);
    run.check(expect![""]);
    run.snapshot(5).diff(7, 7, "9", "0").check(expect![[r#"
        book snapshot 5 bids 2 asks 1 (rest) Both
        book diff 6 bids 1 asks 0 Both
        book diff 7 bids 1 asks 0 Both"#]]);
    let view =
        run.pipeline.book(&run.instrument(), 9, run.now.plus(Duration::from_secs(2))).unwrap();
    assert!(view.synced);
    assert_eq!((view.last_id, view.age), (Some(7), Some(Duration::from_secs(2))));
    assert_eq!(
        view.bids,
        [
            ("10".parse().unwrap(), "2".parse().unwrap()),
            ("8".parse().unwrap(), "1".parse().unwrap())
        ]
    );
}

#[test]
fn a_break_in_the_book_is_a_gap_until_the_next_snapshot() {
    let mut run = Run::new(Options::default());
    run.diff(1, 3, "10", "1").snapshot(3).diff(6, 6, "10", "2").diff(7, 7, "10", "3");
    assert_eq!(run.fetches(), 2);
    let view = run.pipeline.book(&run.instrument(), 9, run.now).unwrap();
    assert!(!view.synced && view.bids.is_empty() && view.age.is_none());
    run.snapshot(6).check(expect![[r#"
        book snapshot 3 bids 2 asks 1 (rest) Both
        gap of book 3..6 sequence v1000 open Both
        book snapshot 6 bids 2 asks 1 (rest) Both
        gap of book 3..6 sequence v1001 healed Both
        book diff 7 bids 1 asks 0 Both"#]]);
    assert_eq!((run.pipeline.counts().syncs, run.pipeline.counts().breaks), (2, 1));
}

#[test]
fn a_disconnect_is_the_cause_of_what_it_cost() {
    let mut run = Run::new(Options::default());
    run.trade(1).diff(1, 3, "10", "1").snapshot(3).disconnect().trade(4);
    run.diff(9, 9, "10", "2").snapshot(9).wait(1).check(expect![[r#"
        trade 1 Both
        book snapshot 3 bids 2 asks 1 (rest) Both
        gap of book 3..? disconnect v1000 open Both
        trade 4 Both
        book snapshot 9 bids 2 asks 1 (rest) Both
        gap of book 3..9 disconnect v1001 healed Both
        gap of trade 1..4 disconnect v1 open Both"#]]);
}

#[test]
fn what_an_earlier_run_left_open_is_a_gap_of_the_restart() {
    let mut run = Run::new(Options::default());
    run.trade(1);
    let id = run.instrument();
    let mut run = Run::new(Options::default());
    for (kind, last) in [(Kind::Trade, 100), (Kind::Book, 40), (Kind::Bbo, 7)] {
        run.pipeline.resume(&id, kind, last, run.now, &mut run.out).unwrap();
    }
    run.trade(103).diff(50, 51, "10", "1").snapshot(50).wait(1).check(expect![[r#"
        gap of book 40..? restart v1000 open Both
        trade 103 Both
        book snapshot 50 bids 2 asks 1 (rest) Both
        gap of book 40..50 restart v1001 healed Both
        book diff 51 bids 1 asks 0 Both
        gap of trade 100..103 restart v1 open Both"#]]);
}

#[test]
fn a_crossed_book_is_fetched_anew() {
    let mut run = Run::new(Options::default());
    run.diff(1, 3, "10", "1").snapshot(3).diff(4, 4, "11", "1").snapshot(5).check(expect![[r#"
        book snapshot 3 bids 2 asks 1 (rest) Both
        book diff 4 bids 1 asks 0 Both
        gap of book 4..? sequence v1000 open Both
        book snapshot 5 bids 2 asks 1 (rest) Both
        gap of book 4..5 sequence v1001 healed Both"#]]);
    run.diff(6, 6, "10", "1").check(expect!["book diff 6 bids 1 asks 0 Both"]);
}

#[test]
fn maintained_books_are_emitted_by_the_clock() {
    let options = Options { live_levels: 1, ..Options::default() };
    let mut run = Run::new(options);
    run.diff(1, 3, "10", "1").snapshot(3).wait(59);
    run.out.clear();
    run.wait(1).check(expect!["book snapshot 3 bids 1 asks 1 Live"]);
    run.wait(14 * 60 - 1);
    run.out.clear();
    run.wait(1).check(expect![[r#"
        book snapshot 3 bids 1 asks 1 Live
        book snapshot 3 bids 2 asks 1 Durable"#]]);
    run.disconnect().out.clear();
    run.wait(3_600).check(expect![""]);
}

#[test]
fn who_takes_over_shows_its_books_one_after_another() {
    let mut run = Run::new(Options { live_levels: 1, ..Options::default() });
    let pause = Duration::from_secs(2);
    run.pipeline.take_over(run.now, pause);
    run.wait(0).check(expect![""]);
    run.diff(1, 3, "10", "1").snapshot(3);
    let other = r#"{"e":"depthUpdate","E":1,"s":"DEFXYZ","U":1,"u":3,"b":[["1","1"]],"a":[]}"#;
    let path = "/api/v3/depth?symbol=DEFXYZ&limit=5000";
    let body = br#"{"lastUpdateId":7,"bids":[["9","1"]],"asks":[["11","1"]]}"#;
    run.frame(other);
    run.pipeline.handle_rest(run.now, path, body, &mut run.out).unwrap();
    run.out.clear();
    run.pipeline.take_over(run.now, pause);
    run.wait(1).check(expect!["book snapshot 3 bids 1 asks 1 (takeover) Live"]);
    run.wait(1).check(expect!["book snapshot 7 bids 1 asks 1 (takeover) Live"]);
    run.wait(57).check(expect![""]);
    run.wait(1).check(expect!["book snapshot 3 bids 1 asks 1 Live"]);
}

#[test]
fn a_book_that_is_out_of_step_at_a_takeover_is_shown_once_it_is_whole() {
    let mut run = Run::new(Options { live_levels: 1, ..Options::default() });
    run.diff(1, 3, "10", "1").snapshot(3).disconnect();
    run.pipeline.take_over(run.now, Duration::from_secs(2));
    run.out.clear();
    run.diff(9, 9, "10", "2").snapshot(9).wait(1).check(expect![[r#"
        book snapshot 9 bids 2 asks 1 (rest) Both
        gap of book 3..9 disconnect v1001 healed Both
        book snapshot 9 bids 1 asks 1 (takeover) Live"#]]);
}

#[test]
fn levels_beyond_the_maintained_depth_are_pruned_in_public() {
    let mut run = Run::new(Options { depth: 2, ..Options::default() });
    run.diff(1, 3, "10", "1").snapshot(3).diff(4, 4, "10", "1");
    run.out.clear();
    run.diff(5, 5, "7", "1").check(expect![[r#"
        book diff 5 bids 1 asks 0 Both
        book diff 5 bids 2 asks 0 (prune) Both"#]]);
    assert_eq!(run.pipeline.counts().pruned_levels, 2);
    let view = run.pipeline.book(&run.instrument(), 9, run.now).unwrap();
    assert_eq!(view.bids.len(), 2);
}

#[test]
fn a_forming_candle_is_live_only() {
    let mut run = Run::new(Options::default());
    run.kline(false).kline(true).check(expect![[r#"
        kline 0 Live
        kline 0 Both"#]]);
}

#[test]
fn an_instrument_list_among_the_answers_is_taken_over() {
    let mut run = Run::new(Options::default());
    run.trade(1);
    let list = br#"{"symbols":[{"symbol":"ABCXYZ","status":"TRADING","baseAsset":"ABC","quoteAsset":"XYZ"}]}"#;
    run.pipeline.handle_rest(run.now, "/api/v3/exchangeInfo", list, &mut run.out).unwrap();
    run.trade(2).trade(4);
    run.pipeline.finish(run.now, &mut run.out);
    let symbols: Vec<_> = run.out.iter().map(|o| o.event.instrument.symbol.as_str()).collect();
    assert_eq!(symbols, ["ABCXYZ", "ABC-XYZ", "ABC-XYZ", "ABC-XYZ"]);
    let Body::Gap(gap) = &run.out[3].event.body else { panic!("no gap") };
    assert_eq!((gap.cause, gap.state), (Cause::Sequence, GapState::Open));
    assert_eq!(&*gap.gap_id, "binance.spot.ABC-XYZ.trade.2");
}

#[test]
fn trades_fetched_by_id_fill_the_hole_and_are_no_news() {
    let mut run = Run::new(Options::default());
    run.trade(5).trade(9).wait(1);
    run.out.clear();
    let entry = |id: u64| {
        format!(
            r#"{{"id":{id},"price":"1","qty":"2","quoteQty":"2","time":7,"isBuyerMaker":true}}"#
        )
    };
    let body = format!("[{}]", (5..=9).map(entry).collect::<Vec<_>>().join(","));
    let path = "/api/v3/historicalTrades?symbol=ABCXYZ&fromId=5&limit=5";
    run.pipeline.handle_rest(run.now, path, body.as_bytes(), &mut run.out).unwrap();
    run.check(expect![[r#"
        trade 6 (rest) Durable
        trade 7 (rest) Durable
        trade 8 (rest) Durable
        gap of trade 5..9 sequence v2 healed Both"#]]);
}

/// Frames of contracts, through the perpetuals' adapter.
fn contracts(options: Options, frames: &[&str]) -> (Pipeline<venue_binance::Perp>, Vec<String>) {
    let mut pipeline = Pipeline::new(venue_binance::Perp::new(), options);
    let (now, mut out) = (UnixNanos::new(1_000_000_000_000), Vec::new());
    for frame in frames {
        pipeline.handle_frame(now, frame.as_bytes(), &mut out).unwrap();
    }
    pipeline.finish(now, &mut out);
    (pipeline, out.iter().map(describe).collect())
}

#[test]
fn an_id_that_is_no_trade_is_no_hole_either() {
    let trade = |id: u64, origin: &str| {
        format!(
            r#"{{"e":"trade","E":1,"T":1,"s":"ABCXYZ","t":{id},"p":"1.5","q":"2","X":"{origin}","m":true}}"#
        )
    };
    let frames = [trade(5, "MARKET"), trade(6, "INSURANCE_FUND"), trade(7, "MARKET")];
    let frames = frames.each_ref().map(String::as_str);
    let (pipeline, out) = contracts(Options::default(), &frames);
    let record = "gap of trade 5..7 skipped v1 healed Durable";
    assert_eq!(out, ["trade 5 Both", record, "trade 7 Both"]);
    assert!(pipeline.counts().healed().all(|(_, healed)| healed == 0), "nothing was missing");
    let skipped = pipeline.counts().frames().find(|(name, _)| *name == "skipped");
    assert_eq!(skipped, Some(("skipped", 1)));
    // It comes on a second connection as well, and is no news there.
    let (_, twice) = contracts(Options::default(), &[frames[0], frames[1], frames[1], frames[2]]);
    assert_eq!(twice, out);
    let books = Options { kinds: vec![Kind::Book], ..Options::default() };
    assert_eq!(contracts(books, &frames).1, Vec::<String>::new());
    // Without it there is one.
    let (_, out) = contracts(Options::default(), &[frames[0], frames[2]]);
    assert_eq!(out[2], "gap of trade 5..7 sequence v1 open Both");
}

#[test]
fn what_a_stream_brings_along_and_nobody_wants_is_dropped() {
    let mark = r#"{"e":"markPriceUpdate","E":1,"s":"ABCXYZ","p":"25.1","P":"25.1","i":"25.2","r":"0.0001","T":2}"#;
    let (_, out) = contracts(Options::default(), &[mark]);
    assert_eq!(out, ["mark 1000000 Both", "funding 1000000 Both"]);
    let options = Options { kinds: vec![Kind::Funding], ..Options::default() };
    assert_eq!(contracts(options, &[mark]).1, ["funding 1000000 Both"]);
}

#[test]
fn a_whole_markets_stream_brings_what_is_wanted_of_it() {
    let mut perp = venue_binance::Perp::new();
    let slot = perp.slot("ABCXYZ").unwrap();
    let wanted = std::collections::BTreeSet::from([Arc::clone(perp.instrument(slot))]);
    let options = Options { instruments: Some(Arc::new(wanted)), ..Options::default() };
    let order = |name: &str| {
        format!(
            r#"{{"e":"forceOrder","E":1,"o":{{"s":"{name}","S":"SELL","q":"1","p":"2","T":1}}}}"#
        )
    };
    let (other, this) = (order("DEFXYZ"), order("ABCXYZ"));
    assert_eq!(contracts(options, &[&other, &this, &other]).1, ["liquidation 1000000 Both"]);
}

#[test]
fn the_answer_to_a_poll_is_an_event_of_its_own_time() {
    let (mut pipeline, _) = contracts(Options::default(), &[]);
    let (now, mut out) = (UnixNanos::new(2_000_000_000), Vec::new());
    let body = br#"{"openInterest":"837.3","symbol":"ABCXYZ","time":1000}"#;
    pipeline.handle_rest(now, "/fapi/v1/openInterest?symbol=ABCXYZ", body, &mut out).unwrap();
    assert_eq!(describe(&out[0]), "open_interest 1000000000 (rest) Both");
    // A recording has the answers of all rounds, and the venue says the same until it has news.
    pipeline.handle_rest(now, "/fapi/v1/openInterest?symbol=ABCXYZ", body, &mut out).unwrap();
    assert_eq!(out.len(), 1);
}

#[test]
fn an_instrument_that_is_wanted_no_more_is_left_and_what_it_misses_is_on_record_later() {
    let mut run = Run::new(Options::default());
    run.trade(5).diff(10, 12, "9", "2").snapshot(10).check(expect![[r#"
        trade 5 Both
        book snapshot 10 bids 2 asks 1 (rest) Both
        book diff 12 bids 1 asks 0 Both"#]]);
    let id = run.instrument();
    let none = Arc::new(BTreeSet::new());
    run.pipeline.want(Arc::clone(&none), run.now, &mut run.out);
    run.check(expect!["gap of book 12..? disconnect v1000 open Both"]);
    // What is still on its way is nobody's, and a second time it is no news.
    run.trade(6).diff(13, 13, "9", "3").bbo(7).snapshot(20);
    run.pipeline.want(none, run.now, &mut run.out);
    run.wait(100).check(expect![""]);
    assert!(!run.pipeline.book(&id, 1, run.now).unwrap().synced);
    let all = Arc::new(BTreeSet::from([Arc::clone(&id)]));
    run.pipeline.want(all, run.now, &mut run.out);
    run.trade(9).wait(2).check(expect![[r#"
        trade 9 Both
        gap of trade 5..9 disconnect v1 open Both"#]]);
    run.diff(30, 30, "9", "4").snapshot(30).check(expect![[r#"
        book snapshot 30 bids 2 asks 1 (rest) Both
        gap of book 12..30 disconnect v1102 healed Both"#]]);
    let flow = |kind| run.pipeline.flow(&id, kind);
    let (trades, books) = (flow(Kind::Trade), flow(Kind::Book));
    assert_eq!((trades.events, trades.gaps, trades.resyncs), (2, 1, 0));
    assert_eq!((books.events, books.gaps, books.resyncs), (3, 1, 1));
    assert_eq!(trades.lag.map(|lag| lag.as_secs()), Some(1_099));
}

#[test]
fn a_kind_that_is_wanted_no_more_is_left_and_the_others_go_on() {
    let mut run = Run::new(Options { kinds: vec![Kind::Trade, Kind::Book], ..Options::default() });
    run.trade(5).diff(10, 12, "9", "2").snapshot(10).bbo(1).check(expect![[r#"
        trade 5 Both
        book snapshot 10 bids 2 asks 1 (rest) Both
        book diff 12 bids 1 asks 0 Both"#]]);
    run.pipeline.want_kinds(&[Kind::Trade, Kind::Bbo], run.now, &mut run.out);
    run.check(expect!["gap of book 12..? disconnect v1000 open Both"]);
    run.trade(6).diff(13, 13, "9", "3").snapshot(20).bbo(7).wait(100).check(expect![[r#"
        trade 6 Both
        bbo 7 Both"#]]);
    run.pipeline.want_kinds(&[Kind::Book], run.now, &mut run.out);
    run.trade(7).diff(30, 30, "9", "4").snapshot(30).check(expect![[r#"
        book snapshot 30 bids 2 asks 1 (rest) Both
        gap of book 12..30 disconnect v1100 healed Both"#]]);
    run.pipeline.want_kinds(&[Kind::Trade, Kind::Book], run.now, &mut run.out);
    run.trade(9).wait(2).check(expect![[r#"
        trade 9 Both
        gap of trade 6..9 disconnect v1 open Both"#]]);
}
