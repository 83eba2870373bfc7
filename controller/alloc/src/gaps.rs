//! Free numbers as the gaps between used ones.

use std::collections::BTreeMap;

/// A set of numbers kept as disjoint intervals that do not touch, both ends included.
/// Memory follows the number of holes, time its logarithm.
///
/// Keyed by the last number of an interval: taking the lowest number, which is what
/// happens most, then moves no key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Gaps {
    /// Last → first.
    intervals: BTreeMap<u128, u128>,
}

impl Gaps {
    /// Every number from `first` to `last`, both included.
    pub(crate) fn full(first: u128, last: u128) -> Self {
        Self { intervals: BTreeMap::from([(last, first)]) }
    }

    /// The lowest free number.
    pub(crate) fn lowest(&self) -> Option<u128> {
        self.intervals.first_key_value().map(|(_, first)| *first)
    }

    /// Takes a number out. False if it was not in.
    pub(crate) fn take(&mut self, number: u128) -> bool {
        let Some((&last, first)) = self.intervals.range_mut(number..).next() else { return false };
        let below = *first;
        if number < below {
            return false;
        }
        if number < last {
            *first = number + 1;
        } else {
            self.intervals.remove(&last);
        }
        if below < number {
            self.intervals.insert(number - 1, below);
        }
        true
    }

    /// Puts a number back. False if it was in already.
    pub(crate) fn give(&mut self, number: u128) -> bool {
        let above = self.intervals.range(number..).next().map(|(last, first)| (*last, *first));
        if above.is_some_and(|(_, first)| first <= number) {
            return false;
        }
        // A neighbour below is found by its last number.
        let below = number.checked_sub(1).and_then(|last| self.intervals.remove(&last));
        let first = below.unwrap_or(number);
        match above {
            Some((last, start)) if number.checked_add(1) == Some(start) => self.intervals.insert(last, first),
            _ => self.intervals.insert(number, first),
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn neighbours_grow_together_again() {
        let mut gaps = Gaps::full(0, u128::MAX);
        for number in [5, 6, 7, u128::MAX, 0] {
            assert!(gaps.take(number), "{number}");
            assert!(!gaps.take(number), "{number} twice");
        }
        assert_eq!(gaps.lowest(), Some(1));
        for number in [6, 5, 7, 0, u128::MAX] {
            assert!(gaps.give(number), "{number}");
            assert!(!gaps.give(number), "{number} twice");
        }
        assert_eq!(gaps, Gaps::full(0, u128::MAX));
    }

    proptest! {
        #[test]
        fn gaps_are_a_set_of_numbers(operations in prop::collection::vec((any::<bool>(), 10u128..40), 0..200)) {
            let (mut gaps, mut model) = (Gaps::full(10, 39), (10u128..40).collect::<BTreeSet<_>>());
            for (take, number) in operations {
                if take {
                    prop_assert_eq!(gaps.take(number), model.remove(&number));
                } else {
                    prop_assert_eq!(gaps.give(number), model.insert(number));
                }
                prop_assert_eq!(gaps.lowest(), model.first().copied());
                let listed: BTreeSet<u128> = gaps.intervals.iter().flat_map(|(b, a)| *a..=*b).collect();
                prop_assert_eq!(&listed, &model);
            }
        }
    }
}
