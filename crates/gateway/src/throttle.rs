//! Slows down whoever presents wrong keys. No clock: the moment comes in.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Wrong keys that an address may present in a row.
const FAILURES_MAX: u32 = 10;

/// How long one wrong key is remembered; the long-run rate is one attempt per this time.
const FAILURE_COST: Duration = Duration::from_secs(6);

/// Addresses that are remembered: 4,096 of them are about 300 kB.
const ADDRESSES_MAX: usize = 4_096;

/// Counts wrong keys per address.
///
/// An address runs up a debt of [`FAILURE_COST`] per failure, which the passing of time repays;
/// while more than [`FAILURES_MAX`] failures are owed, no password of it is looked at, and no wrong
/// key is told from another. When the table is full those with the smallest debts are forgotten, so
/// memory is bounded and the worst offenders stay.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// When each address will have repaid everything.
    debts: BTreeMap<IpAddr, Instant>,
}

impl Throttle {
    /// Returns how long the address has to wait, or `None` if it may try.
    pub(crate) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let debt = self.debts.get(&network(address))?.saturating_duration_since(now);
        let allowed = FAILURE_COST * (FAILURES_MAX - 1);
        debt.checked_sub(allowed).filter(|wait| !wait.is_zero())
    }

    /// Counts one wrong key.
    pub(crate) fn failed(&mut self, address: IpAddr, now: Instant) {
        let address = network(address);
        if !self.debts.contains_key(&address) && self.debts.len() >= ADDRESSES_MAX {
            self.forget();
        }
        let repaid = self.debts.entry(address).or_insert(now);
        *repaid = (*repaid).max(now) + FAILURE_COST;
    }

    /// Makes room: the quarter that owes the least goes, so that a flood of new addresses costs
    /// one look at the table per thousand of them.
    fn forget(&mut self) {
        let mut moments: Vec<Instant> = self.debts.values().copied().collect();
        let (_, quartile, _) = moments.select_nth_unstable(ADDRESSES_MAX / 4);
        let quartile = *quartile;
        self.debts.retain(|_, repaid| *repaid > quartile);
    }
}

/// One IPv6 user has a whole /64, so that is what is counted.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn ten_failures_are_free_and_the_eleventh_waits() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..FAILURES_MAX {
            assert_eq!(throttle.wait(address(1), now), None);
            throttle.failed(address(1), now);
        }
        assert_eq!(throttle.wait(address(1), now), Some(FAILURE_COST));
        assert_eq!(throttle.wait(address(2), now), None, "others are not affected");
        let later = now + FAILURE_COST;
        assert_eq!(throttle.wait(address(1), later), None, "time repays");
        throttle.failed(address(1), later);
        assert!(throttle.wait(address(1), later).is_some());
    }

    #[test]
    fn a_user_of_ipv6_cannot_hop_within_their_network() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for host in 0..10_u128 {
            throttle.failed(IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | host)), now);
        }
        let next = Ipv6Addr::from_bits(0x2001_0db8 << 96 | 99);
        assert!(throttle.wait(IpAddr::V6(next), now).is_some());
        let neighbour = Ipv6Addr::from_bits(0x2001_0db8 << 96 | 1 << 64);
        assert!(throttle.wait(IpAddr::V6(neighbour), now).is_none());
    }

    #[test]
    fn memory_is_bounded_and_the_worst_is_remembered() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..FAILURES_MAX {
            throttle.failed(address(0), now);
        }
        for number in 1..20_000 {
            throttle.failed(address(number), now);
            assert!(throttle.debts.len() <= ADDRESSES_MAX);
        }
        assert!(throttle.wait(address(0), now).is_some());
    }
}
