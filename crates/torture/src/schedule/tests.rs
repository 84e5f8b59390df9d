use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn schedule(seed: u64, minutes: u64, clock: bool) -> Schedule {
    of(Store::Archive, seed, minutes, clock)
}

fn of(store: Store, seed: u64, minutes: u64, clock: bool) -> Schedule {
    Schedule::draw(seed, minutes, store, clock).expect("everything fits")
}

fn any_store() -> impl Strategy<Value = Store> {
    prop_oneof![Just(Store::Archive), Just(Store::ClickHouse)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_kind_strikes_at_least_once(
        store in any_store(),
        seed: u64,
        minutes in MINUTES_MIN..12,
    ) {
        let drawn = of(store, seed, minutes, true);
        let kinds: BTreeSet<Kind> =
            drawn.strikes.iter().map(|strike| strike.fault.kind()).collect();
        prop_assert_eq!(kinds, store.kinds().into_iter().collect());
        let mut killed = vec![Program::Collector, Program::Storage, Program::Nats];
        if store == Store::ClickHouse {
            killed.extend([Program::ClickHouse, Program::Redis]);
        }
        for program in killed {
            let killed = |strike: &Strike| strike.fault == Fault::Kill(program);
            prop_assert!(drawn.strikes.iter().any(killed), "{} lives", program);
        }
    }

    #[test]
    fn a_store_that_is_not_there_is_not_struck(seed: u64, minutes in MINUTES_MIN..12) {
        let drawn = schedule(seed, minutes, true);
        let lanes = [crate::fault::Lane::Store, crate::fault::Lane::Copy];
        let struck = |strike: &Strike| lanes.contains(&strike.fault.lane());
        prop_assert!(!drawn.strikes.iter().any(struck));
    }

    #[test]
    fn what_cannot_be_told_apart_does_not_overlap(
        store in any_store(),
        seed: u64,
        minutes in MINUTES_MIN..12,
    ) {
        let Schedule { strikes, .. } = of(store, seed, minutes, true);
        for (i, strike) in strikes.iter().enumerate() {
            for other in &strikes[i + 1..] {
                let apart = !strike.fault.conflicts(other.fault)
                    || strike.rested() <= other.at
                    || other.rested() <= strike.at;
                prop_assert!(apart, "{} and {}", strike, other);
            }
        }
    }

    #[test]
    fn the_beginning_and_the_end_are_quiet(seed: u64, minutes in MINUTES_MIN..12) {
        let Schedule { strikes, length, .. } = schedule(seed, minutes, true);
        prop_assert!(strikes.is_sorted_by_key(|strike| strike.at));
        for strike in strikes {
            prop_assert!(strike.at >= LEAD, "{}", strike);
            prop_assert!(strike.end() + TAIL + HEALS <= length, "{}", strike);
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_schedule(seed: u64) {
        prop_assert_eq!(schedule(seed, 2, true), schedule(seed, 2, true));
        prop_assert_ne!(schedule(seed, 2, true).strikes, schedule(!seed, 2, true).strikes);
    }

    #[test]
    fn without_a_clock_to_set_none_jumps(seed: u64) {
        let jumps = |strike: &Strike| strike.fault.kind() == Kind::ClockJump;
        prop_assert!(!schedule(seed, 3, false).strikes.iter().any(jumps));
    }

    #[test]
    fn the_venue_can_read_what_it_is_told(seed: u64) {
        let drawn = schedule(seed, 2, true);
        let words = drawn.of_venue();
        prop_assert!(words.len() >= 6);
        for words in words {
            prop_assert!(words.parse::<sim::fault::Fault>().is_ok(), "{}", words);
        }
    }
}

#[test]
fn a_long_run_stops_the_message_server_beyond_its_memory_of_ids() {
    let drawn = schedule(7, 10, true);
    let longest = |strike: &&Strike| strike.fault == Fault::Freeze(Program::Nats);
    let longest = drawn.strikes.iter().filter(longest).map(|strike| strike.length).max();
    assert_eq!(longest, Some(Duration::from_secs(150)));
}

#[test]
fn a_long_run_keeps_a_service_away_until_its_alert_is_due() {
    let Schedule { mut strikes, length, .. } = schedule(7, 15, true);
    strikes.retain(|strike| strike.fault == Fault::Kill(Program::Scheduler));
    strikes.retain(|strike| strike.length >= AWAY);
    let alarms = crate::alarm::alarms(&strikes, &[], length);
    assert_eq!(alarms[0].alert, "service-down of scheduler");
}
