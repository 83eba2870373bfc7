//! The difference between what is and what should be. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::model::{AddressKey, Desired, Entry, Observed};

/// What to change. Fields are in the order in which they are applied: nothing is
/// unanswered between two of them that was answered before and should be after.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Addresses to add, or to give another entry.
    pub set: BTreeMap<AddressKey, Entry>,
    /// Interfaces to attach, or whose old program is to be replaced.
    pub attach: BTreeSet<u32>,
    /// Interfaces to detach.
    pub detach: BTreeSet<u32>,
    /// Interfaces that are gone, of which pins are left.
    pub forget: BTreeSet<u32>,
    /// Pins to make again, which somebody removed or replaced.
    pub pin: BTreeSet<PathBuf>,
    /// Addresses to remove.
    pub remove: BTreeSet<AddressKey>,
    /// Whether the filter is to be written; it is whenever addresses change.
    pub filter: bool,
}

impl Plan {
    /// The plan from one state to the other.
    #[must_use]
    pub fn new(observed: &Observed, desired: &Desired) -> Self {
        let set: BTreeMap<_, _> = desired
            .addresses
            .iter()
            .filter(|(key, entry)| observed.addresses.get(key) != Some(entry))
            .map(|(key, entry)| (*key, *entry))
            .collect();
        let remove: BTreeSet<_> =
            observed.addresses.keys().filter(|key| !desired.addresses.contains_key(key)).copied().collect();
        let runs_ours =
            |ifindex: &u32| observed.interfaces.get(ifindex).is_some_and(|attachment| attachment.current);
        Self {
            attach: desired.interfaces.iter().filter(|ifindex| !runs_ours(ifindex)).copied().collect(),
            detach: observed
                .interfaces
                .keys()
                .filter(|ifindex| !desired.interfaces.contains(ifindex))
                .copied()
                .collect(),
            forget: observed.gone.clone(),
            pin: observed.unpinned.clone(),
            filter: !observed.filter_fits || !remove.is_empty() || !set.is_empty(),
            set,
            remove,
        }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
