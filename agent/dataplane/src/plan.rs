//! The difference between what is and what should be. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
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
    /// Whether the filter is to be made anew at the end: it has bits of what is gone, or fits
    /// nothing. The bits of what is added are written before it in any case.
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
            filter: !observed.filter_fits || !remove.is_empty(),
            set,
            remove,
        }
    }

    /// What of the plan concerns these addresses, on the interfaces that run the program; the rest
    /// is as it should be. `desired` are all entries wanted of them.
    #[must_use]
    pub fn of(
        observed: &Observed,
        addresses: &BTreeSet<IpAddr>,
        desired: &BTreeMap<AddressKey, Entry>,
    ) -> Self {
        let differs = |(key, entry): &(&AddressKey, &Entry)| observed.addresses.get(key) != Some(entry);
        let set: BTreeMap<_, _> = desired.iter().filter(differs).map(|(key, entry)| (*key, *entry)).collect();
        let keys = observed.interfaces.keys().flat_map(|ifindex| {
            addresses.iter().map(|address| AddressKey { ifindex: *ifindex, vlan: 0, address: *address })
        });
        let remove: BTreeSet<_> =
            keys.filter(|key| observed.addresses.contains_key(key) && !desired.contains_key(key)).collect();
        Self { filter: !remove.is_empty(), set, remove, ..Self::default() }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AttachedMode, Attachment, ChoiceReason};

    fn key(ifindex: u32, last: u8) -> AddressKey {
        AddressKey { ifindex, vlan: 0, address: IpAddr::from([192, 0, 2, last]) }
    }

    /// Four places of two interfaces and two addresses, each free, silent or answered.
    fn entries(number: u32) -> BTreeMap<AddressKey, Entry> {
        let entry = |which| match which {
            0 => None,
            1 => Some(Entry::Silence),
            _ => Some(Entry::Answer { mac: [2; 6], epoch: 1 }),
        };
        let places = [key(1, 1), key(1, 2), key(2, 1), key(2, 2)].into_iter().zip(0u32..);
        places.filter_map(|(key, place)| Some((key, entry(number / 3u32.pow(place) % 3)?))).collect()
    }

    #[test]
    fn the_plan_of_an_address_is_its_part_of_the_whole_plan() {
        let address = key(1, 1).address;
        let attachment =
            Attachment { mode: AttachedMode::Native, reason: ChoiceReason::Driver, current: true };
        for (old, new) in (0..81).flat_map(|old| (0..81).map(move |new| (old, new))) {
            let observed = Observed {
                interfaces: [(1, attachment), (2, attachment)].into(),
                addresses: entries(old),
                filter_fits: true,
                ..Observed::default()
            };
            let desired = Desired { interfaces: [1, 2].into(), addresses: entries(new) };
            let mut whole = Plan::new(&observed, &desired);
            whole.set.retain(|key, _| key.address == address);
            whole.remove.retain(|key| key.address == address);
            whole.filter = !whole.remove.is_empty();
            let mut wanted = desired.addresses;
            wanted.retain(|key, _| key.address == address);
            assert_eq!(Plan::of(&observed, &[address].into(), &wanted), whole, "{old} {new}");
        }
    }
}
