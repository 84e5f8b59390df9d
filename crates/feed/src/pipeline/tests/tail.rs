//! What was sent last before the stream was joined.

use super::*;

const NEWEST: &str = "/api/v3/historicalTrades?symbol=ABCXYZ&limit=1";

impl Run {
    fn joined(&mut self) -> &mut Self {
        let id = self.instrument();
        self.pipeline.handle_joined([&*id], self.now);
        self
    }

    fn book_joined(&mut self) -> &mut Self {
        let name = "ABCXYZ";
        let slot = self.pipeline.adapter_mut().slot(name).unwrap();
        let id = Arc::clone(self.pipeline.adapter().instrument(slot));
        self.pipeline.handle_book_joined(&id, self.now, &mut self.out);
        self
    }

    /// Asks for the books that rest; how many they are.
    fn resting(&mut self) -> usize {
        std::iter::from_fn(|| self.pipeline.next_resting(self.now)).count()
    }

    /// The paths that are to be asked for.
    fn questions(&mut self) -> Vec<String> {
        let next = || self.pipeline.next_question(self.now);
        std::iter::from_fn(next).map(|question| question.request.path).collect()
    }

    fn answer(&mut self, body: &str) -> &mut Self {
        self.pipeline.handle_newest(self.now, NEWEST, body.as_bytes(), &mut self.out).unwrap();
        self
    }

    fn newest(&mut self, id: u64) -> &mut Self {
        self.answer(&format!(
            r#"[{{"id":{id},"price":"1","qty":"2","quoteQty":"2","time":7,"isBuyerMaker":true}}]"#
        ))
    }
}

#[test]
fn a_quiet_stream_is_asked_for_what_it_had_last() {
    let mut run = Run::new(Options::default());
    run.trade(5).disconnect().wait(60);
    assert_eq!(run.questions(), [""; 0], "nobody listens yet");
    run.joined().wait(4);
    assert_eq!(run.questions(), [""; 0]);
    run.wait(1);
    assert_eq!(run.questions(), [NEWEST]);
    assert_eq!(run.questions(), [""; 0], "once");
    run.newest(8).wait(1).trade(9).check(expect![[r#"
        trade 5 Both
        gap of trade 5..9 disconnect v1 open Both
        trade 9 Both"#]]);
}

#[test]
fn where_nothing_is_missing_nothing_is_recorded() {
    let mut run = Run::new(Options::default());
    run.trade(5).disconnect().joined().wait(5).newest(5).answer("[]").wait(9);
    run.check(expect!["trade 5 Both"]);
    run.joined().trade(6).wait(5);
    assert_eq!(run.questions(), [""; 0], "it goes on by itself");
    let error = run.pipeline.handle_newest(run.now, NEWEST, b"<html>", &mut run.out);
    assert_eq!(error.unwrap_err().reason, venue::Reject::Malformed);
}

#[test]
fn what_is_not_wanted_is_not_asked_for() {
    let mut run = Run::new(Options::default());
    run.trade(5).disconnect().joined().wait(5);
    let (nobody, id) = (Arc::new(BTreeSet::new()), run.instrument());
    run.pipeline.want(nobody, run.now, &mut run.out);
    assert_eq!(run.questions(), [""; 0]);
    run.newest(8).wait(1).check(expect!["trade 5 Both"]);
    run.pipeline.want(Arc::new(BTreeSet::from([id])), run.now, &mut run.out);
    run.wait(5);
    assert_eq!(run.questions(), [""; 0], "another connection may carry it now");
    run.joined().wait(5);
    assert_eq!(run.questions(), [NEWEST], "it is wanted again");
    run.pipeline.want_kinds(&[Kind::Book], run.now, &mut run.out);
    run.newest(8).wait(1).check(expect![""]);
}

#[test]
fn the_book_of_a_market_that_rests_is_whole_again_and_so_is_its_record() {
    let mut run = Run::new(Options::default());
    run.diff(1, 4, "9", "1").snapshot(4).disconnect().wait(60);
    assert_eq!((run.fetches(), run.resting()), (1, 0));
    run.book_joined().wait(3).book_joined().wait(1);
    assert_eq!(run.resting(), 0);
    run.wait(1);
    assert_eq!(run.resting(), 1, "however often it hears that it is joined");
    assert_eq!(run.resting(), 0, "once");
    run.snapshot(4).diff(5, 5, "9", "2").check(expect![[r#"
        book snapshot 4 bids 2 asks 1 (rest) Both
        gap of book 4..? disconnect v1000 open Both
        book snapshot 4 bids 2 asks 1 (rest) Both
        gap of book 4..4 disconnect v1065 healed Both
        book diff 5 bids 1 asks 0 Both"#]]);
    assert_eq!(run.fetches(), 0);
}

#[test]
fn a_book_that_breaks_behind_the_same_id_again_has_another_version() {
    let mut run = Run::new(Options::default());
    run.diff(1, 4, "9", "1").snapshot(4).disconnect().book_joined().wait(5);
    assert_eq!(run.resting(), 1);
    // This time something is missed.
    run.snapshot(4).disconnect().diff(10, 10, "9", "1").snapshot(9);
    let gaps = run.out.iter().filter_map(|output| {
        let Body::Gap(gap) = &output.event.body else { return None };
        Some((Arc::clone(&gap.gap_id), gap.version, gap.before_id))
    });
    let gaps: Vec<_> = gaps.collect();
    assert!(gaps.iter().all(|(id, ..)| *id == gaps[0].0), "{gaps:?}");
    assert!(gaps.is_sorted_by(|one, next| one.1 < next.1), "{gaps:?}");
    assert_eq!(gaps.iter().map(|gap| gap.2).collect::<Vec<_>>(), [None, Some(4), None, Some(9)]);
}

#[test]
fn a_later_run_says_something_new_of_the_same_gap() {
    let versions = |minute: u64| {
        let mut run = Run::new(Options::default());
        run.wait(60 * minute).pipeline.adapter_mut().slot("ABCXYZ").unwrap();
        let id = run.instrument();
        run.pipeline.resume(&id, Kind::Book, 4, run.now, &mut run.out).unwrap();
        run.book_joined().wait(5);
        assert_eq!(run.resting(), 1);
        run.snapshot(4 + minute);
        let gaps = run.out.iter().filter_map(|output| {
            let Body::Gap(gap) = &output.event.body else { return None };
            Some(gap.version)
        });
        gaps.collect::<Vec<_>>()
    };
    assert!(versions(1).last() < versions(2).first(), "{:?}", versions(2));
}

#[test]
fn a_book_of_which_nothing_ever_came_is_there_all_the_same() {
    let mut run = Run::new(Options::default());
    run.book_joined().wait(5);
    assert_eq!((run.resting(), run.fetches()), (1, 0));
    run.snapshot(7).check(expect!["book snapshot 7 bids 2 asks 1 (rest) Both"]);
    let view = run.pipeline.book(&run.instrument(), 1, run.now).unwrap();
    assert_eq!((view.synced, view.last_id), (true, Some(7)));
}

#[test]
fn a_snapshot_that_bids_what_it_asks_is_no_book_of_a_market_that_rests() {
    let mut run = Run::new(Options::default());
    run.book_joined().wait(5);
    assert_eq!(run.resting(), 1);
    let (path, crossed) = (
        "/api/v3/depth?symbol=ABCXYZ&limit=5000",
        r#"{"lastUpdateId":7,"bids":[["9","1"],["11","1"]],"asks":[["11","1"]]}"#,
    );
    run.pipeline.handle_rest(run.now, path, crossed.as_bytes(), &mut run.out).unwrap();
    run.check(expect![""]).wait(1);
    assert_eq!(run.resting(), 1, "it is asked for again");
    run.snapshot(8).check(expect!["book snapshot 8 bids 2 asks 1 (rest) Both"]);
}

#[test]
fn a_stream_that_brings_nothing_of_a_market_that_trades_has_no_book() {
    let mut run = Run::new(Options::default());
    run.trade(1).wait(1).book_joined().wait(60);
    assert_eq!(run.resting(), 1, "it was before");
    let mut run = Run::new(Options::default());
    run.book_joined().wait(1).trade(1).wait(60);
    assert_eq!(run.resting(), 0);
    run.diff(8, 9, "9", "1");
    assert_eq!(run.fetches(), 1, "it brings something");
}

#[test]
fn a_book_whose_stream_brings_nothing_any_more_is_not_true() {
    let mut run = Run::new(Options::default());
    run.diff(1, 4, "9", "1").snapshot(4);
    let id = run.instrument();
    run.pipeline.handle_book_lost(&id, run.now, &mut run.out);
    run.check(expect![[r#"
        book snapshot 4 bids 2 asks 1 (rest) Both
        gap of book 4..? disconnect v1000 open Both"#]]);
    assert!(!run.pipeline.book(&id, 1, run.now).unwrap().synced);
}

#[test]
fn a_resting_book_that_is_not_wanted_is_not_asked_for() {
    let mut run = Run::new(Options { kinds: vec![Kind::Trade], ..Options::default() });
    run.book_joined().wait(60);
    assert_eq!((run.resting(), run.fetches()), (0, 0));
}
