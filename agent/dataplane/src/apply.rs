//! Carrying a plan out, in an order that leaves nothing unanswered meanwhile.

use std::io;
use std::sync::PoisonError;

use clarion_abi::{Filter, MAX_ADDRESSES, SHARED_COUNTER};

use crate::Dataplane;
use crate::attach;
use crate::error::ItemError;
use crate::model::{AddressKey, Entry};
use crate::pins;
use crate::plan::Plan;
use crate::report::{Action, Report};
use crate::tables;

/// VLAN ids end below this (802.1Q §9.6).
const VLAN_LIMIT: u16 = 4095;

pub(crate) fn apply(dataplane: &mut Dataplane, plan: &Plan) -> Report {
    let mut report = Report::default();
    if !plan.set.is_empty() {
        // Bits first: an address without its bit would pass unanswered.
        report.push(Action::Filter, widen_filter(dataplane, plan.set.keys()));
    }
    for (key, entry) in &plan.set {
        report.push(Action::Set(*key, *entry), set(dataplane, key, *entry));
    }
    apply_interfaces(dataplane, plan, &mut report);
    apply_pins(dataplane, plan, &mut report);
    for key in &plan.remove {
        report.push(Action::Remove(*key), remove(dataplane, key));
    }
    if plan.filter {
        let filter = tables::filter_of(dataplane.slots.keys());
        report.push(Action::Filter, write_filter(dataplane, &filter));
    }
    report
}

fn apply_interfaces(dataplane: &mut Dataplane, plan: &Plan, report: &mut Report) {
    let Dataplane { options, pins, loaded, links, memory, .. } = dataplane;
    let memory = memory.get_mut().unwrap_or_else(PoisonError::into_inner);
    let mut node = attach::Node { options, pins, loaded, links, memory };
    for ifindex in &plan.attach {
        let attached = node.attach(*ifindex);
        let how = attached.as_ref().ok().copied();
        report.push(Action::Attach(*ifindex, how), attached.map(drop));
    }
    for ifindex in &plan.forget {
        node.memory.forget(*ifindex);
    }
    for ifindex in &plan.detach {
        report.push(Action::Detach(*ifindex), attach::detach(links, *ifindex));
    }
    for ifindex in &plan.forget {
        report.push(Action::Forget(*ifindex), attach::forget(links, *ifindex));
    }
    let changed = !(plan.attach.is_empty() && plan.detach.is_empty() && plan.forget.is_empty());
    if changed && let Err(error) = pins.remove_spent_versions() {
        tracing::warn!(error = &error as &dyn std::error::Error, "pins of another version not removed");
    }
}

/// Pins what is not: what this plan attached, and what somebody removed or replaced.
fn apply_pins(dataplane: &Dataplane, plan: &Plan, report: &mut Report) {
    if plan.pin.is_empty() && plan.attach.is_empty() {
        return;
    }
    let unpinned = dataplane.unpinned();
    let removed = unpinned.keys().filter(|path| plan.pin.contains(*path)).count();
    if removed > 0 {
        tracing::warn!(
            pins = removed,
            directory = %dataplane.pins.dir().display(),
            "pins were removed or replaced by somebody else, putting them back; the kernel went on answering"
        );
    }
    for (path, object) in unpinned {
        // The directory may be gone as well, and the file system with it.
        let prepared = dataplane.pins.prepare().map_err(io::Error::other);
        let pinned = prepared.and_then(|()| pins::pin_over(object, &path));
        let result = pinned.map_err(|source| ItemError::Pin { path: path.clone(), source });
        report.push(Action::Pin(path), result);
    }
}

/// Adds the bits of these addresses to what the filter has.
fn widen_filter<'a>(
    dataplane: &mut Dataplane,
    keys: impl Iterator<Item = &'a AddressKey>,
) -> Result<(), ItemError> {
    let filter = dataplane.loaded.tables.filter_now();
    let mut filter = filter.map_err(|error| ItemError::Filter(Box::new(error)))?;
    keys.for_each(|key| tables::add(&mut filter, key));
    write_filter(dataplane, &filter)
}

fn write_filter(dataplane: &mut Dataplane, filter: &Filter) -> Result<(), ItemError> {
    dataplane.loaded.tables.set_filter(filter).map_err(|error| ItemError::Filter(Box::new(error)))
}

fn set(dataplane: &mut Dataplane, key: &AddressKey, entry: Entry) -> Result<(), ItemError> {
    if let Some(reason) = unacceptable(key, entry) {
        return Err(ItemError::Refused { key: *key, reason });
    }
    let written = |source| ItemError::Address { key: *key, limit: MAX_ADDRESSES, source: Box::new(source) };
    let before = dataplane.slots.get(key).map_or(SHARED_COUNTER, |slot| slot.counter);
    let answers = !matches!(entry, Entry::Silence);
    // An address keeps its counts while it is answered, whatever MAC and epoch.
    let counter = match (answers, before) {
        (true, SHARED_COUNTER) => dataplane.indices.take(),
        (true, index) => index,
        (false, _) => SHARED_COUNTER,
    };
    let is_new = counter != SHARED_COUNTER && counter != before;
    let slot = tables::slot(entry, counter);
    let reset = if is_new { dataplane.loaded.tables.reset_counter(counter) } else { Ok(()) };
    if let Err(source) = reset.and_then(|()| dataplane.loaded.tables.insert(key, slot)) {
        if is_new {
            dataplane.indices.give_back(counter);
        }
        return Err(written(source));
    }
    if counter != before {
        dataplane.indices.give_back(before);
    }
    dataplane.slots.insert(*key, slot);
    Ok(())
}

/// Writes one address, and its bit before it.
pub(crate) fn set_now(dataplane: &mut Dataplane, key: &AddressKey, entry: Entry) -> Result<(), ItemError> {
    if !dataplane.slots.contains_key(key) {
        widen_filter(dataplane, std::iter::once(key))?;
    }
    set(dataplane, key, entry)
}

pub(crate) fn remove(dataplane: &mut Dataplane, key: &AddressKey) -> Result<(), ItemError> {
    dataplane.loaded.tables.remove(key).map_err(|source| ItemError::Address {
        key: *key,
        limit: MAX_ADDRESSES,
        source: Box::new(source),
    })?;
    if let Some(slot) = dataplane.slots.remove(key) {
        dataplane.indices.give_back(slot.counter);
    }
    Ok(())
}

/// Why a key or entry cannot be meant; caught here, it would be silent in the map.
fn unacceptable(key: &AddressKey, entry: Entry) -> Option<&'static str> {
    if key.ifindex == 0 {
        return Some("interface index 0 does not exist");
    }
    if key.vlan >= VLAN_LIMIT {
        return Some("a VLAN id is 1 to 4094, or 0 for untagged");
    }
    if key.address.is_unspecified() || key.address.is_multicast() {
        return Some("the address must be a unicast one");
    }
    match entry {
        Entry::Answer { mac, .. } if !is_station(mac) => Some(NO_STATION),
        Entry::Owned { mac, station, .. } if !(is_station(mac) && is_station(station)) => Some(NO_STATION),
        Entry::Owned { inc: 0, .. } => Some("an owner's incarnation is never 0"),
        _ => None,
    }
}

const NO_STATION: &str = "the MAC to answer with must be a station's, neither zero nor a group's";

fn is_station(mac: [u8; 6]) -> bool {
    mac != [0; 6] && mac[0] & 1 == 0
}
