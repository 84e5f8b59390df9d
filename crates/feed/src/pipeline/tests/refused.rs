//! Ring 1: frames that cannot be read.

use super::super::reject::REJECTED_BYTES_MAX;
use super::*;
use crate::output::REJECTS_KEPT;

#[test]
fn what_a_refused_frame_may_have_carried_is_missing_for_that_reason() {
    let mut run = Run::new(Options::default());
    run.trade(7).diff(5, 9, "9", "1").snapshot(7);
    let refuse = |run: &mut Run, frame: &str| {
        run.pipeline.handle_frame(run.now, frame.as_bytes(), &mut run.out).unwrap_err();
    };
    refuse(&mut run, r#"{"stream":"abcxyz@trade","data":{"e":"trade","t":8,"#);
    run.trade(9).diff(12, 14, "9", "2").wait(2);
    // It cost nothing, so the next hole is the venue's.
    refuse(&mut run, "{");
    run.trade(10).trade(12).wait(2);
    // Another instrument's.
    run.frame(r#"{"e":"trade","E":1,"s":"XYZABC","t":1,"p":"1","q":"2","T":1,"m":true,"M":true}"#);
    refuse(&mut run, r#"{"e":"trade","E":1,"s":"XYZABC","t":2,"#);
    run.trade(14).wait(2);
    let gaps = run.out.iter().filter_map(|output| match &output.event.body {
        Body::Gap(gap) => Some((gap.of, gap.after_id, gap.before_id, gap.cause)),
        Body::Trade(_)
        | Body::AggTrade(_)
        | Body::Book(_)
        | Body::Bbo(_)
        | Body::Ticker(_)
        | Body::Kline(_)
        | Body::Mark(_)
        | Body::Funding(_)
        | Body::OpenInterest(_)
        | Body::Liquidation(_)
        | Body::LongShortRatio(_)
        | Body::VolatilityIndex(_)
        | Body::Status(_) => None,
    });
    let expected = [
        (Kind::Book, Some(9), Some(12), Cause::Reject),
        (Kind::Trade, Some(7), Some(9), Cause::Reject),
        (Kind::Trade, Some(10), Some(12), Cause::Sequence),
        (Kind::Trade, Some(12), Some(14), Cause::Sequence),
    ];
    assert_eq!(gaps.collect::<Vec<_>>(), expected);
}

#[test]
fn refused_frames_are_counted_and_a_few_are_kept() {
    let mut run = Run::new(Options::default());
    for number in 0..REJECTS_KEPT + 3 {
        let frame = format!("{{\"number\":{number}}}");
        run.pipeline.handle_frame(run.now, frame.as_bytes(), &mut run.out).unwrap_err();
    }
    let path = "/api/v3/time";
    run.pipeline.handle_rest(run.now, path, &[b'x'; 10_000], &mut run.out).unwrap_err();
    let kept: Vec<_> = run.pipeline.rejected().collect();
    assert_eq!(kept.len(), REJECTS_KEPT);
    assert_eq!(kept.last().unwrap().frame.len(), REJECTED_BYTES_MAX);
    let rejects: Vec<_> = run.pipeline.counts().rejects().filter(|(_, n)| *n > 0).collect();
    assert_eq!(rejects, [(venue::Reject::UnknownType, 19), (venue::Reject::UnknownPath, 1)]);
    assert!(run.out.is_empty());
}
