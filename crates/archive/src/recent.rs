//! A cache that remembers what was used last, up to a weight.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Values by key; the least recently used go first once the weight is exceeded.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    entries: BTreeMap<K, Slot<V>>,
    /// Keys by when they were last used.
    ages: BTreeMap<u64, K>,
    clock: u64,
    weight: usize,
    weight_max: usize,
}

#[derive(Debug)]
struct Slot<V> {
    value: Arc<V>,
    weight: usize,
    used: u64,
}

impl<K: Ord + Clone, V> Recent<K, V> {
    pub(crate) const fn new(weight_max: usize) -> Self {
        Self { entries: BTreeMap::new(), ages: BTreeMap::new(), clock: 0, weight: 0, weight_max }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<Arc<V>> {
        let slot = self.entries.get_mut(key)?;
        self.ages.remove(&slot.used);
        self.clock += 1;
        slot.used = self.clock;
        self.ages.insert(self.clock, key.clone());
        Some(Arc::clone(&slot.value))
    }

    pub(crate) fn insert(&mut self, key: K, value: Arc<V>, weight: usize) {
        self.remove(&key);
        self.clock += 1;
        self.weight += weight;
        self.ages.insert(self.clock, key.clone());
        self.entries.insert(key, Slot { value, weight, used: self.clock });
        while self.weight > self.weight_max {
            let Some((_, oldest)) = self.ages.pop_first() else { break };
            self.remove(&oldest);
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(slot) = self.entries.remove(key) {
            self.ages.remove(&slot.used);
            self.weight -= slot.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut recent = Recent::new(3);
        for key in 1..=3 {
            recent.insert(key, Arc::new(key * 10), 1);
        }
        assert!(recent.get(&1).is_some());
        recent.insert(4, Arc::new(40), 1);
        assert!(recent.get(&2).is_none());
        assert_eq!(
            [1, 3, 4].map(|key| recent.get(&key).map(|v| *v)),
            [Some(10), Some(30), Some(40)]
        );
        recent.insert(5, Arc::new(50), 9);
        assert!(recent.get(&5).is_none() && recent.get(&4).is_none());
    }
}
