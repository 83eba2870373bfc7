//! What `BPF_PROG_TEST_RUN` cannot show: a driver without room, a missing filter.
//!
//! Every frame and outcome otherwise is in `tests/prog`, against the kernel.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytemuck::Pod;
use clarion_abi::{Control, Filter, KeyV4, KeyV6, Outcome, STATE_ANSWER, Slot, words};

use clarion_fence::{NodeId, Peer, Wire};

use crate::{Access, Frame, Held, Tables, handle};

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];
const ASKER: [u8; 6] = [2, 0, 0, 0, 0, 1];
const VIP4: [u8; 4] = [192, 0, 2, 10];
const VIP6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10];

struct Bytes {
    bytes: Vec<u8>,
    has_room: bool,
}

impl Frame for Bytes {
    fn view<T: Pod>(&self, at: usize) -> Option<&T> {
        self.bytes.get(at..at + size_of::<T>()).map(bytemuck::from_bytes)
    }

    fn put<T: Pod>(&mut self, at: usize, value: &T) -> bool {
        let place = self.bytes.get_mut(at..at + size_of::<T>());
        place.map(|place| place.copy_from_slice(bytemuck::bytes_of(value))).is_some()
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn resize(&mut self, len: usize) -> bool {
        if self.has_room {
            self.bytes.resize(len, 0xee);
        }
        self.has_room
    }
}

/// One answered address of each family, on interface 1.
struct World {
    filter: Option<Box<Filter>>,
    answered: RefCell<BTreeMap<u32, u64>>,
}

impl World {
    fn new(filter: Option<Filter>) -> Self {
        Self { filter: filter.map(Box::new), answered: RefCell::default() }
    }
}

const SLOT: Slot =
    Slot { inc: 0, epoch: 1, mac: OURS, state: STATE_ANSWER, station: OURS, pad: 0, counter: 3, rest: 0 };

impl Tables for World {
    fn ifindex(&self) -> u32 {
        1
    }

    fn filter(&self) -> Option<&Filter> {
        self.filter.as_deref()
    }

    fn v4(&self, key: &KeyV4) -> Option<Slot> {
        let known = KeyV4 { ifindex: 1, address: u32::from_ne_bytes(VIP4), vlan: 0, pad: 0 };
        (*key == known).then_some(SLOT)
    }

    fn v6(&self, key: &KeyV6) -> Option<Slot> {
        let known = KeyV6 { ifindex: 1, vlan: 0, pad: 0, address: words(VIP6) };
        (*key == known).then_some(SLOT)
    }

    fn control(&self) -> Control {
        Control { heartbeat: 1, grace: 10 }
    }

    fn own(&self) -> Option<&clarion_fence::Own> {
        None
    }

    fn leases(&self) -> Option<&clarion_fence::Leases> {
        None
    }

    fn port(&self) -> u16 {
        0
    }

    fn keys(&self) -> Option<&clarion_fence::Keys> {
        None
    }

    fn hold(&self, _: NodeId) -> Access<'_> {
        Access::Unwatched
    }

    fn release(&self, _: Held<'_>) {}

    fn granted(&self, _: NodeId, _: &Peer) -> u64 {
        0
    }

    fn vote(&self, _: &Wire) -> bool {
        false
    }

    fn now(&self) -> u64 {
        5
    }

    fn recent(&self) -> u64 {
        5
    }

    fn answered(&self, counter: u32) {
        *self.answered.borrow_mut().entry(counter).or_default() += 1;
    }

    fn conflict(&self, _: u32, _: [u8; 6], _: u64) {}
}

fn request() -> Vec<u8> {
    [&[0xff; 6][..], &ASKER, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &ASKER, &[192, 0, 2, 1], &[0; 6], &VIP4]
        .concat()
}

/// Duplicate address detection without options: its answer is 8 bytes longer.
fn detection() -> Vec<u8> {
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 10];
    let mut frame = [
        &[0x33, 0x33, 0xff, 0, 0, 10][..],
        &ASKER,
        &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255],
        &[0; 16],
        &group,
        &[135, 0, 0, 0, 0, 0, 0, 0],
        &VIP6,
    ]
    .concat();
    let mut sum = 24 + 58;
    for pair in frame[22..].chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair[1]);
    }
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    frame[56..58].copy_from_slice(&checksum.to_be_bytes());
    frame
}

#[test]
fn a_driver_without_room_leaves_the_solicitation_unchanged_to_the_host() {
    let world = World::new(None);
    let mut frame = Bytes { bytes: detection(), has_room: false };
    assert_eq!(handle(&mut frame, &world), Some(Outcome::NdpUnanswerable));
    assert_eq!(frame.bytes, detection());
    assert!(world.answered.borrow().is_empty(), "counted although unanswered");
}

#[test]
fn with_room_the_answer_fills_every_byte_of_it() {
    let mut frame = Bytes { bytes: detection(), has_room: true };
    assert_eq!(handle(&mut frame, &World::new(None)), Some(Outcome::NdpDadAnswered));
    assert_eq!(frame.bytes.len(), 86);
    assert!(!frame.bytes.contains(&0xee), "bytes of nobody leave: {:02x?}", frame.bytes);
}

#[test]
fn without_a_filter_everything_is_looked_up() {
    let world = World::new(None);
    let mut frame = Bytes { bytes: request(), has_room: false };
    assert_eq!(handle(&mut frame, &world), Some(Outcome::ArpAnswered));
    assert_eq!(*world.answered.borrow(), BTreeMap::from([(3, 1)]));
}

#[test]
fn a_filter_without_the_addresss_bit_lets_the_request_pass() {
    let mut frame = Bytes { bytes: request(), has_room: false };
    let world = World::new(Some(Filter::EMPTY));
    assert_eq!(handle(&mut frame, &world), Some(Outcome::ArpOther));
    assert_eq!(frame.bytes, request());
}
