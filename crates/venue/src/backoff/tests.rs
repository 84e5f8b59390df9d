//! Ring 1: the bounds of the waits.

use super::*;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

const MIN: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_secs(30);

proptest! {
    #[test]
    fn every_wait_lies_between_the_bounds(seed: u64, attempts in 1_usize..80) {
        let (mut backoff, mut rng) = (Backoff::new(MIN, MAX), StdRng::seed_from_u64(seed));
        for _ in 0..attempts {
            let wait = backoff.next(&mut rng);
            prop_assert!((MIN..=MAX).contains(&wait), "{wait:?}");
        }
        let soon = backoff.next_within(MAX / 10, &mut rng);
        prop_assert!((MIN..=MAX / 10).contains(&soon), "{soon:?}");
        prop_assert!(attempts < 20 || backoff.next(&mut rng) >= MAX / 2);
    }
}

#[test]
fn a_success_begins_anew() {
    let (mut backoff, mut rng) = (Backoff::new(MIN, MAX), StdRng::seed_from_u64(7));
    for _ in 0..10 {
        backoff.next(&mut rng);
    }
    assert_eq!(backoff.attempts(), 10);
    backoff.reset();
    assert!(backoff.next(&mut rng) <= MIN);
}
