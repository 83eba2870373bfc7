//! Free numbers as the gaps between used ones.

use std::collections::BTreeMap;

/// A set of numbers kept as disjoint intervals that do not touch, first to last,
/// both included. Memory follows the number of holes, time its logarithm.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Gaps {
    intervals: BTreeMap<u128, u128>,
}

impl Gaps {
    /// Every number from `first` to `last`, both included.
    pub(crate) fn full(first: u128, last: u128) -> Self {
        Self { intervals: BTreeMap::from([(first, last)]) }
    }

    /// The lowest free number.
    pub(crate) fn lowest(&self) -> Option<u128> {
        self.intervals.first_key_value().map(|(first, _)| *first)
    }

    /// Takes a number out. False if it was not in.
    pub(crate) fn take(&mut self, number: u128) -> bool {
        let Some((first, last)) = self.interval_at_or_below(number).filter(|(_, last)| number <= *last)
        else {
            return false;
        };
        self.intervals.remove(&first);
        if first < number {
            self.intervals.insert(first, number - 1);
        }
        if number < last {
            self.intervals.insert(number + 1, last);
        }
        true
    }

    /// Puts a number back. False if it was in already.
    pub(crate) fn give(&mut self, number: u128) -> bool {
        let below = self.interval_at_or_below(number);
        if below.is_some_and(|(_, last)| number <= last) {
            return false;
        }
        let first = match below {
            Some((first, last)) if last.checked_add(1) == Some(number) => first,
            _ => number,
        };
        // `remove` finds the neighbour above by its first number.
        let last = number.checked_add(1).and_then(|above| self.intervals.remove(&above)).unwrap_or(number);
        self.intervals.insert(first, last);
        true
    }

    fn interval_at_or_below(&self, number: u128) -> Option<(u128, u128)> {
        self.intervals.range(..=number).next_back().map(|(first, last)| (*first, *last))
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
                let listed: BTreeSet<u128> = gaps.intervals.iter().flat_map(|(a, b)| *a..=*b).collect();
                prop_assert_eq!(&listed, &model);
            }
        }
    }
}
