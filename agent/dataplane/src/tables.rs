//! The maps, and how entries and counter indices live in them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use clarion_abi::{
    Conflict, Control, Filter, KeyV4, KeyV6, OUTCOMES, STATE_ANSWER, STATE_SILENCE, Slot, names, octets,
    words,
};

use crate::error::Error;
use crate::model::{AddressKey, ConflictReport, Entry};

/// Handles of all maps.
pub(crate) struct Tables {
    v4: HashMap<MapData, KeyV4, Slot>,
    v6: HashMap<MapData, KeyV6, Slot>,
    /// Locked, since a heartbeat comes from another thread than plans do.
    control: Mutex<Array<MapData, Control>>,
    filter: Array<MapData, Filter>,
    outcomes: PerCpuArray<MapData, u64>,
    answers: PerCpuArray<MapData, u64>,
    conflicts: Array<MapData, Conflict>,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // aya's handles do not all say what they are.
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

pub(crate) fn failed(name: &'static str) -> impl FnOnce(MapError) -> Error {
    move |source| Error::Map { name, source: Box::new(source) }
}

pub(crate) fn take<T: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, Error> {
    let map = ebpf.take_map(name).ok_or(Error::Missing { name })?;
    T::try_from(map).map_err(failed(name))
}

impl Tables {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            v4: take(ebpf, names::V4)?,
            v6: take(ebpf, names::V6)?,
            control: Mutex::new(take(ebpf, names::CONTROL)?),
            filter: take(ebpf, names::FILTER)?,
            outcomes: take(ebpf, names::OUTCOMES)?,
            answers: take(ebpf, names::ANSWERS)?,
            conflicts: take(ebpf, names::CONFLICTS)?,
        })
    }

    /// All addresses with their values.
    pub(crate) fn slots(&self) -> Result<BTreeMap<AddressKey, Slot>, Error> {
        let v4 = self.v4.iter().map(|item| {
            let (key, slot) = item.map_err(failed(names::V4))?;
            Ok((
                AddressKey {
                    ifindex: key.ifindex,
                    vlan: key.vlan,
                    address: IpAddr::from(key.address.to_ne_bytes()),
                },
                slot,
            ))
        });
        let v6 = self.v6.iter().map(|item| {
            let (key, slot) = item.map_err(failed(names::V6))?;
            Ok((
                AddressKey {
                    ifindex: key.ifindex,
                    vlan: key.vlan,
                    address: IpAddr::from(octets(key.address)),
                },
                slot,
            ))
        });
        v4.chain(v6).collect()
    }

    pub(crate) fn insert(&mut self, key: &AddressKey, slot: Slot) -> Result<(), MapError> {
        match map_key(key) {
            MapKey::V4(key) => self.v4.insert(key, slot, 0),
            MapKey::V6(key) => self.v6.insert(key, slot, 0),
        }
    }

    /// Removes an address; one that is not there is fine.
    pub(crate) fn remove(&mut self, key: &AddressKey) -> Result<(), MapError> {
        let result = match map_key(key) {
            MapKey::V4(key) => self.v4.remove(&key),
            MapKey::V6(key) => self.v6.remove(&key),
        };
        gone(result)
    }

    pub(crate) fn filter(&self) -> Result<Filter, Error> {
        self.filter_now().map_err(failed(names::FILTER))
    }

    pub(crate) fn filter_now(&self) -> Result<Filter, MapError> {
        self.filter.get(&0, 0)
    }

    pub(crate) fn set_filter(&mut self, filter: &Filter) -> Result<(), MapError> {
        self.filter.set(0, filter, 0)
    }

    /// Changes heartbeat or grace, or both.
    pub(crate) fn update_control(&self, change: impl FnOnce(&mut Control)) -> Result<(), Error> {
        // A panic elsewhere cannot leave the map half written.
        let mut map = self.control.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut control = map.get(&0, 0).map_err(failed(names::CONTROL))?;
        change(&mut control);
        map.set(0, control, 0).map_err(failed(names::CONTROL))
    }

    /// Begins the counts of an index anew.
    pub(crate) fn reset_counter(&mut self, counter: u32) -> Result<(), MapError> {
        let cpus = nr_cpus().map_err(|(_, error)| MapError::IoError(error))?;
        self.answers.set(counter, PerCpuValues::try_from(vec![0; cpus])?, 0)?;
        self.conflicts.set(counter, Conflict { mac: [0; 8], last: 0, count: 0 }, 0)
    }

    pub(crate) fn outcomes(&self) -> Result<BTreeMap<&'static str, u64>, Error> {
        let total = |outcome: &clarion_abi::Outcome| {
            let values = self.outcomes.get(&(*outcome as u32), 0).map_err(failed(names::OUTCOMES))?;
            Ok((outcome.name(), values.iter().sum()))
        };
        OUTCOMES.iter().map(total).collect()
    }

    pub(crate) fn answers(&self, counter: u32) -> Result<u64, Error> {
        Ok(self.answers.get(&counter, 0).map_err(failed(names::ANSWERS))?.iter().sum())
    }

    pub(crate) fn conflict(&self, counter: u32) -> Result<Option<ConflictReport>, Error> {
        let record = self.conflicts.get(&counter, 0).map_err(failed(names::CONFLICTS))?;
        let [a, b, c, d, e, f, ..] = record.mac;
        Ok((record.count > 0).then(|| ConflictReport {
            mac: [a, b, c, d, e, f],
            last: Duration::from_nanos(record.last),
            count: record.count,
        }))
    }
}

/// The heartbeat in a pinned control map, by the boot clock; `None` without a map, or
/// before the first one.
pub(crate) fn heartbeat(path: &Path) -> Result<Option<Duration>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    let read = || -> Result<Control, MapError> {
        let map: Array<_, Control> = Array::try_from(Map::Array(MapData::from_pin(path)?))?;
        map.get(&0, 0)
    };
    let control = read().map_err(failed(names::CONTROL))?;
    Ok((control.heartbeat != 0).then(|| Duration::from_nanos(control.heartbeat)))
}

/// Removing what is not there is fine.
pub(crate) fn gone(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

enum MapKey {
    V4(KeyV4),
    V6(KeyV6),
}

fn map_key(key: &AddressKey) -> MapKey {
    let AddressKey { ifindex, vlan, address } = *key;
    match address {
        IpAddr::V4(address) => {
            MapKey::V4(KeyV4 { ifindex, address: u32::from_ne_bytes(address.octets()), vlan, pad: 0 })
        }
        IpAddr::V6(address) => MapKey::V6(KeyV6 { ifindex, vlan, pad: 0, address: words(address.octets()) }),
    }
}

/// The value of an entry.
pub(crate) fn slot(entry: Entry, counter: u32) -> Slot {
    let (state, mac, station, epoch, inc) = match entry {
        Entry::Answer { mac, epoch } => (STATE_ANSWER, mac, mac, epoch, 0),
        Entry::Owned { mac, station, epoch, inc } => (STATE_ANSWER, mac, station, epoch, inc),
        Entry::Silence => (STATE_SILENCE, [0; 6], [0; 6], 0, 0),
    };
    Slot { inc, epoch, mac, state, station, pad: 0, counter, rest: 0 }
}

/// The entry of a value. One that no agent writes becomes an answer with the zero
/// MAC, which nobody can desire: the next plan replaces or removes it.
pub(crate) fn entry(slot: &Slot) -> Entry {
    let Slot { inc, epoch, mac, station, .. } = *slot;
    match slot.state {
        STATE_SILENCE => Entry::Silence,
        STATE_ANSWER if inc != 0 => Entry::Owned { mac, station, epoch, inc },
        STATE_ANSWER if station == mac => Entry::Answer { mac, epoch },
        _ => Entry::Answer { mac: [0; 6], epoch: 0 },
    }
}

/// The filter that exactly these addresses need.
pub(crate) fn filter_of<'a>(keys: impl IntoIterator<Item = &'a AddressKey>) -> Filter {
    let mut filter = Filter::EMPTY;
    keys.into_iter().for_each(|key| add(&mut filter, key));
    filter
}

/// Adds an address to a filter.
pub(crate) fn add(filter: &mut Filter, key: &AddressKey) {
    match key.address {
        IpAddr::V4(address) => filter.add_v4(address.octets()),
        IpAddr::V6(address) => filter.add_v6(address.octets()),
    }
}
