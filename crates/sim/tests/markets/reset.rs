//! A venue that numbers anew.

use super::*;

pub(crate) async fn ids_that_begin_anew_are_taken_and_on_record<A: Adapter>(adapter: A) {
    let venue = open::<A>().await;
    let mut recorder = Recorder::start(adapter, &venue).await;
    recorder.run("books", Recorder::is_synced).await;
    more(&mut recorder, &venue, 50).await;
    venue.strike("reset@0s").await;
    let kind = venue.dialect.trade_kind();
    let resets = |recorder: &Recorder<A>, of| {
        let is_reset = |gap: &&&model::Gap| gap.cause == Cause::Reset && gap.before_id.is_none();
        recorder.gaps(of).iter().filter(is_reset).count()
    };
    let all = |recorder: &Recorder<A>| {
        resets(recorder, kind) >= COUNT && resets(recorder, Kind::Book) >= COUNT
    };
    recorder.run("new beginnings", all).await;
    recorder.run("books", Recorder::is_synced).await;
    more(&mut recorder, &venue, 50).await;
    venue.end().await;
    books_agree(&mut recorder, &venue).await;
    // What came before it was known is missing, and on record; so every new id is accounted for.
    let anew = |seq: &u64| *seq < 1_000_000;
    let sent = venue.trades().into_keys().filter(|(_, seq)| anew(seq)).count();
    let lost = |recorder: &Recorder<A>| {
        let gaps = recorder.gaps(kind).into_iter();
        let ends = gaps.filter_map(|gap| gap.after_id.zip(gap.before_id));
        ends.map(|(after, before)| usize::try_from(before - after - 1).unwrap()).sum::<usize>()
    };
    let seen = |recorder: &Recorder<A>| {
        let ids = recorder.trades(kind).map(|(_, trade)| trade.ids()).filter(|(_, id)| anew(id));
        ids.map(|(first, last)| usize::try_from(last - first + 1).unwrap()).sum::<usize>()
    };
    recorder.run("last trade", |recorder| seen(recorder) + lost(recorder) == sent).await;
}
