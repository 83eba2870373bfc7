//! Which index of the per-address counters is whose.

use std::collections::BTreeSet;

use clarion_abi::{MAX_COUNTED, SHARED_COUNTER};

/// Indices that are given out, and those that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CounterIndices {
    free: BTreeSet<u32>,
    /// Every index from here on was never given out.
    next: u32,
}

impl CounterIndices {
    /// The state in which exactly these indices are in use.
    pub(crate) fn new(used: impl IntoIterator<Item = u32>) -> Self {
        let used: BTreeSet<u32> =
            used.into_iter().filter(|index| *index != SHARED_COUNTER && *index < MAX_COUNTED).collect();
        let next = used.last().map_or(SHARED_COUNTER + 1, |last| last + 1);
        Self { free: (SHARED_COUNTER + 1..next).filter(|index| !used.contains(index)).collect(), next }
    }

    /// The lowest free index; the shared one when all are in use.
    pub(crate) fn take(&mut self) -> u32 {
        if let Some(index) = self.free.pop_first() {
            return index;
        }
        if self.next >= MAX_COUNTED {
            return SHARED_COUNTER;
        }
        self.next += 1;
        self.next - 1
    }

    /// Gives an index back.
    pub(crate) fn give_back(&mut self, index: u32) {
        if index != SHARED_COUNTER && index < self.next {
            self.free.insert(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adopted_indices_are_not_given_out_again_and_returned_ones_are() {
        let mut indices = CounterIndices::new([2, 4, SHARED_COUNTER]);
        assert_eq!([indices.take(), indices.take(), indices.take()], [1, 3, 5]);
        indices.give_back(4);
        assert_eq!(indices.take(), 4);
    }

    #[test]
    fn when_all_are_in_use_the_rest_share_one() {
        let mut indices = CounterIndices::new(1..MAX_COUNTED);
        assert_eq!(indices.take(), SHARED_COUNTER);
        indices.give_back(SHARED_COUNTER);
        assert_eq!(indices.take(), SHARED_COUNTER);
    }
}
