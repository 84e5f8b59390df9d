//! Ring 2: recordings of Binance's contracts margined in dollars.

use super::*;
use venue_binance::Perp;

#[test]
fn linked_books_agree_with_every_best_offer_of_their_update() {
    for (name, agreements, final_book) in [
        ("binance-usdm-btcusdt-20240808.tsv.gz", 629, Some("usdm_btcusdt_0808")),
        ("binance-usdm-btcusdt-20230404.tsv.gz", 1_565, None),
    ] {
        let Some(text) = recording(name) else { return };
        let run = Run::with(Perp::new(), &records(&text));
        assert_eq!(run.counts().rejects().map(|(_, count)| count).sum::<u64>(), 0, "{name}");
        // An id that is no trade's is on record, and nothing else.
        let gaps = run.gaps().into_iter().filter(|gap| gap.cause != model::Cause::Skipped);
        assert_eq!(gaps.collect::<Vec<_>>(), Vec::<&model::Gap>::new(), "{name}");
        assert_eq!((run.counts().syncs, run.counts().breaks), (1, 0), "{name}");
        assert_eq!(run.follow_books().agreements(), (agreements, agreements), "{name}");
        if let Some(final_book) = final_book {
            is_the_known_book(&run, final_book);
        }
    }
}

#[test]
fn mark_prices_and_funding_come_from_one_stream() {
    let Some(text) = recording("binance-usdm-btcusdt-20230404.tsv.gz") else { return };
    let run = Run::with(Perp::new(), &records(&text));
    let marks = numbers(&text, "markPriceUpdate").len();
    assert!(marks > 400, "{marks}");
    assert_eq!(run.seqs(Kind::Mark).len(), marks);
    assert_eq!(run.seqs(Kind::Funding), run.seqs(Kind::Mark));
    let times = run.out.iter().filter_map(|output| match &output.event.body {
        Body::Funding(funding) => funding.next_funding_time,
        _ => None,
    });
    // The recording goes across a funding time.
    assert_eq!(times.collect::<BTreeSet<_>>().len(), 2);
}

#[test]
fn five_contracts_share_one_connection_and_every_snapshot_fits() {
    let Some(text) = recording("binance-usdm-5symbols-20210405.tsv.gz") else { return };
    let run = Run::with(Perp::new(), &records(&text));
    let symbols: BTreeSet<_> = run.out.iter().map(|o| o.event.instrument.symbol.clone()).collect();
    assert_eq!(symbols.len(), 5);
    assert_eq!((run.counts().syncs, run.counts().breaks), (5, 0));
    assert_eq!(Run::count(run.counts().gaps(), Kind::AggTrade), 0);
    assert_eq!(run.counts().rejects().map(|(_, count)| count).sum::<u64>(), 0);
}
