//! Ring 1: windows, headers and bans.

use super::*;

const fn at(seconds: i64) -> UnixNanos {
    UnixNanos::new(seconds * 1_000_000_000)
}

#[test]
fn weight_is_granted_per_minute_of_utc() {
    let mut budget = Budget::new(100);
    assert_eq!(budget.spend(60, at(59)), Ok(()));
    assert_eq!(budget.spend(60, at(59)), Err(Exhausted { until: at(60) }));
    assert_eq!(budget.spend(40, at(59)), Ok(()));
    assert_eq!(budget.spend(60, at(60)), Ok(()), "a new minute");
    assert_eq!((budget.used(at(61)), budget.used(at(120))), (60, 0));
}

#[test]
fn the_venue_is_believed_when_it_counts_more_but_not_when_it_counts_less() {
    let mut budget = Budget::new(100);
    budget.spend(10, at(0)).unwrap();
    budget.observe(95, at(1));
    assert_eq!(budget.spend(10, at(2)), Err(Exhausted { until: at(60) }));
    budget.observe(5, at(3));
    assert_eq!(budget.used(at(3)), 95);
}

#[test]
fn a_ban_outlasts_the_minute() {
    let mut budget = Budget::new(100);
    budget.ban(Duration::from_secs(120), at(10));
    budget.ban(Duration::from_secs(5), at(11));
    assert_eq!(budget.spend(1, at(129)), Err(Exhausted { until: at(130) }));
    assert_eq!(budget.spend(1, at(130)), Ok(()));
}

#[test]
fn a_request_heavier_than_a_whole_minute_is_not_refused_for_ever() {
    let mut budget = Budget::new(100);
    assert_eq!(budget.spend(250, at(0)), Ok(()));
    assert_eq!(budget.spend(1, at(0)), Err(Exhausted { until: at(60) }));
    assert_eq!(budget.spend(1, at(60)), Ok(()));
}

#[test]
fn what_can_wait_gets_its_share_and_no_more() {
    let mut budget = Budget::new(1_000).with_share(Share::Backfill, 20);
    for _ in 0..8 {
        assert_eq!(budget.spend_share(Share::Backfill, 25, at(0)), Ok(()));
    }
    assert_eq!(budget.spend_share(Share::Backfill, 25, at(0)), Err(Exhausted { until: at(60) }));
    assert_eq!(budget.spend(800, at(1)), Ok(()), "the rest is there for what cannot wait");
    assert_eq!(budget.spend_share(Share::Backfill, 25, at(60)), Ok(()), "a new minute");
}

#[test]
fn what_can_wait_leaves_a_quarter_to_what_cannot() {
    let mut budget = Budget::new(1_000).with_share(Share::Backfill, 50);
    budget.observe(730, at(0));
    assert_eq!(budget.spend_share(Share::Backfill, 25, at(0)), Err(Exhausted { until: at(60) }));
    assert_eq!(budget.spend(250, at(0)), Ok(()));
}

#[test]
fn without_a_share_nothing_that_can_wait_is_sent_and_a_small_one_still_serves() {
    assert!(Budget::new(1_000).spend_share(Share::Backfill, 1, at(0)).is_err());
    let mut small = Budget::new(1_000).with_share(Share::Backfill, 1);
    assert_eq!(small.spend_share(Share::Backfill, 25, at(0)), Ok(()));
    assert_eq!(small.spend_share(Share::Backfill, 25, at(0)), Err(Exhausted { until: at(60) }));
    small.ban(Duration::from_secs(90), at(1));
    assert_eq!(small.spend_share(Share::Backfill, 25, at(60)), Err(Exhausted { until: at(91) }));
}

#[test]
fn neither_share_takes_of_the_other() {
    let mut budget =
        Budget::new(1_000).with_share(Share::Backfill, 20).with_share(Share::Polls, 30);
    assert_eq!((budget.granted(Share::Backfill), budget.granted(Share::Polls)), (200, 300));
    while budget.spend_share(Share::Backfill, 20, at(0)).is_ok() {}
    let polls = (0..1_000).take_while(|_| budget.spend_share(Share::Polls, 1, at(1)).is_ok());
    assert_eq!(polls.count(), 300);
    assert_eq!(budget.used(at(2)), 500);
    assert_eq!(budget.spend_share(Share::Polls, 1, at(60)), Ok(()), "a new minute");
    assert_eq!(budget.spend_share(Share::Backfill, 200, at(60)), Ok(()));
}

#[test]
fn what_others_at_the_address_use_counts_for_the_whole_and_not_for_our_part() {
    let mut budget = Budget::new(1_000).with_others(50).with_share(Share::Polls, 20);
    assert_eq!(budget.granted(Share::Polls), 100, "of our part");
    budget.spend(300, at(0)).unwrap();
    // The other one has used its part.
    budget.observe(750, at(0));
    assert_eq!(budget.spend(200, at(1)), Ok(()));
    assert_eq!(budget.spend(1, at(1)), Err(Exhausted { until: at(60) }), "our part is used up");
    budget.observe(990, at(60));
    assert_eq!(budget.spend(20, at(61)), Err(Exhausted { until: at(120) }), "the whole is");
    budget.spend(370, at(120)).unwrap();
    assert_eq!(budget.spend_share(Share::Polls, 10, at(120)), Err(Exhausted { until: at(180) }));
    assert_eq!(budget.spend(130, at(121)), Ok(()), "a quarter of our part was left");
}

#[test]
fn however_small_our_part_is_what_can_wait_comes_through() {
    let mut budget = Budget::new(480).with_others(1).with_share(Share::Backfill, 20);
    assert_eq!(budget.granted(Share::Backfill), 1, "a fifth of four");
    assert_eq!(budget.granted(Share::Polls), 0, "nobody gave it any");
    assert_eq!(budget.spend_share(Share::Backfill, 20, at(0)), Ok(()), "the first of its minute");
    assert_eq!(budget.spend_share(Share::Backfill, 1, at(1)), Err(Exhausted { until: at(60) }));
    budget.spend(1, at(60)).unwrap();
    assert_eq!(budget.spend_share(Share::Backfill, 20, at(61)), Err(Exhausted { until: at(120) }));
    assert_eq!(budget.spend_share(Share::Backfill, 20, at(120)), Ok(()));
}
