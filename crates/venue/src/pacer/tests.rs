//! Ring 1: how many are granted when.

use super::*;
use proptest::prelude::*;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn half_is_granted_at_once_and_the_rest_comes_back_over_the_window() {
    let mut pacer = Pacer::new(480, secs(3_600));
    let at_once = (0..480).take_while(|_| pacer.take(secs(7)).is_ok()).count();
    assert_eq!(at_once, 240);
    assert_eq!(pacer.take(secs(7)), Err(secs(15)));
    assert_eq!(pacer.take(secs(22)), Ok(()));
    assert_eq!(pacer.take(secs(22)), Err(secs(15)));
    // After a window without any the burst is whole again.
    let at_once = (0..480).take_while(|_| pacer.take(secs(9_000)).is_ok()).count();
    assert_eq!(at_once, 240);
}

#[test]
fn one_in_a_window_is_granted_too() {
    let mut pacer = Pacer::new(1, secs(10));
    assert_eq!(pacer.take(secs(0)), Ok(()));
    assert_eq!(pacer.take(secs(4)), Err(secs(6)));
    assert_eq!(pacer.take(secs(10)), Ok(()));
}

proptest! {
    #[test]
    fn no_window_ever_has_more_than_was_granted(
        count in 1_u32..40,
        steps in prop::collection::vec(0_u64..900, 1..400),
    ) {
        let window = Duration::from_millis(10_000);
        let mut pacer = Pacer::new(count, window);
        let (mut now, mut taken) = (Duration::ZERO, Vec::new());
        for step in steps {
            now += Duration::from_millis(step);
            match pacer.take(now) {
                Ok(()) => taken.push(now),
                // The wait that it names is the right one.
                Err(wait) => prop_assert!(pacer.clone().take(now + wait).is_ok()),
            }
        }
        for (index, first) in taken.iter().enumerate() {
            let within = taken[index..].iter().take_while(|at| **at - *first < window).count();
            prop_assert!(within <= usize::try_from(count).unwrap().max(1));
        }
    }
}
