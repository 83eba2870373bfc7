//! The kernel's side of [`Frame`](crate::Frame) and [`Tables`]: maps, clocks and helpers
//! here, the packets of XDP and of tc in a module each, with their exits. All `unsafe` of
//! the program is here and there.

pub mod tc;
pub mod xdp;

use core::arch::asm;

use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_boot_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::RingBuf;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray};
use clarion_abi::{
    Clock, Conflict, Control, Filter, KeyV4, KeyV6, MAX_ADDRESSES, MAX_COUNTED, MAX_PEERS, OUTCOMES, Outcome,
    Slot, Switch, VOTES_BYTES, Watched,
};
use clarion_fence::{Keys, Leases, NodeId, Own, Peer, Wire};

use crate::frame::{Access, Held, Tables};

// Maps of addresses allocate as they fill: an element that was replaced is not
// reused while a program may still read it, and 65,536 idle ones cost nothing.
const NO_PREALLOC: u32 = 1;

#[map(name = "CLARION_V4")]
static V4: HashMap<KeyV4, Slot> = HashMap::with_max_entries(MAX_ADDRESSES, NO_PREALLOC);
#[map(name = "CLARION_V6")]
static V6: HashMap<KeyV6, Slot> = HashMap::with_max_entries(MAX_ADDRESSES, NO_PREALLOC);
#[map(name = "CLARION_CTL")]
static CONTROL: Array<Control> = Array::with_max_entries(1, 0);
#[map(name = "CLARION_FILTER")]
static FILTER: Array<Filter> = Array::with_max_entries(1, 0);
#[map(name = "CLARION_OUT")]
static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(OUTCOMES.len() as u32, 0);
#[map(name = "CLARION_ANS")]
static ANSWERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(MAX_COUNTED, 0);
#[map(name = "CLARION_CLK")]
static CLOCK: PerCpuArray<Clock> = PerCpuArray::with_max_entries(1, 0);
#[map(name = "CLARION_CNF")]
static CONFLICTS: Array<Conflict> = Array::with_max_entries(MAX_COUNTED, 0);

#[map(name = "CLARION_SWITCH")]
static SWITCH: Array<Switch> = Array::with_max_entries(1, 0);
#[map(name = "CLARION_OWN")]
static OWN: Array<Own> = Array::with_max_entries(2, 0);
#[map(name = "CLARION_LEASES")]
static LEASES: Array<Leases> = Array::with_max_entries(1, 0);
#[map(name = "CLARION_PEERS")]
static PEERS: HashMap<NodeId, Watched> = HashMap::with_max_entries(MAX_PEERS, NO_PREALLOC);
#[map(name = "CLARION_GRANTS")]
static GRANTS: HashMap<NodeId, u64> = HashMap::with_max_entries(MAX_PEERS, NO_PREALLOC);
#[map(name = "CLARION_KEYS")]
static KEYS: Array<Keys> = Array::with_max_entries(1, 0);
#[map(name = "CLARION_VOTES")]
static VOTES: RingBuf = RingBuf::with_byte_size(VOTES_BYTES, 0);

/// What a program is called with. It is read where it is needed: most frames leave
/// before anybody asks for their interface.
trait Context {
    /// Index of the interface that the frame came in on.
    fn ifindex(&self) -> u32;
}

struct Maps<C> {
    context: C,
}

impl<C: Context> Tables for Maps<C> {
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.context.ifindex()
    }

    #[inline(always)]
    fn filter(&self) -> Option<&Filter> {
        FILTER.get(0)
    }

    #[inline(always)]
    fn v4(&self, key: &KeyV4) -> Option<Slot> {
        // SAFETY: a copy is taken; a value is never changed in place, and its
        // memory is not reused while this program runs.
        V4.get_ptr(key).map(|slot| unsafe { *slot })
    }

    #[inline(always)]
    fn v6(&self, key: &KeyV6) -> Option<Slot> {
        // SAFETY: as above.
        V6.get_ptr(key).map(|slot| unsafe { *slot })
    }

    #[inline(always)]
    fn control(&self) -> Control {
        // Without one nothing lives. User space writes both words while they are
        // read here: each is aligned and copied whole.
        CONTROL.get(0).copied().unwrap_or(Control { heartbeat: 0, grace: 0 })
    }

    #[inline(always)]
    fn own(&self) -> Option<&Own> {
        OWN.get((SWITCH.get(0)?.own & 1) as u32)
    }

    #[inline(always)]
    fn leases(&self) -> Option<&Leases> {
        LEASES.get(0)
    }

    #[inline(always)]
    fn port(&self) -> u16 {
        SWITCH.get(0).map_or(0, |switch| switch.port as u16)
    }

    #[inline(always)]
    fn keys(&self) -> Option<&Keys> {
        KEYS.get(0)
    }

    #[inline(always)]
    fn hold(&self, node: NodeId) -> Access<'_> {
        let (Some(watched), Some(leases)) = (PEERS.get_ptr_mut(node), LEASES.get_ptr_mut(0)) else {
            return Access::Unwatched;
        };
        // SAFETY: values of maps, aligned and there as long as this program runs. Who
        // exchanged a 0 for the 1 is alone with the peer, and with the lease of that
        // voter; user space only reads, and reads again what changed meanwhile.
        unsafe {
            if exchange(&raw mut (*watched).busy, 1) != 0 {
                return Access::Busy;
            }
            Access::Held(Held { watched: &mut *watched, leases: &mut *leases })
        }
    }

    #[inline(always)]
    fn release(&self, held: Held<'_>) {
        // SAFETY: a word of a map's value.
        unsafe { exchange(&raw mut held.watched.busy, 0) };
    }

    #[inline(always)]
    fn granted(&self, node: NodeId, peer: &Peer) -> u64 {
        let mut barrier = 0_u64;
        // SAFETY: an exchange with a word of our own orders all before it and all after
        // it. It is told of the peer, so that the compiler has stored that before.
        unsafe {
            asm!(
                "{0} = xchg_64({1} + 0, {0})",
                "/* {2} */",
                inout(reg) 0_u64 => _,
                in(reg) &raw mut barrier,
                in(reg) &raw const *peer,
            );
        }
        // SAFETY: a value of a map, a word that user space replaces as a whole.
        GRANTS.get_ptr(node).map_or(0, |granted| unsafe { granted.read_volatile() })
    }

    #[inline(always)]
    fn vote(&self, wire: &Wire) -> bool {
        let Some(mut room) = VOTES.reserve::<[u64; 8]>(0) else { return false };
        room.write(wire.0.map(u64::from_ne_bytes));
        room.submit(0);
        true
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_ktime_get_boot_ns() }
    }

    #[inline(always)]
    fn recent(&self) -> u64 {
        let Some(clock) = CLOCK.get_ptr_mut(0) else { return self.now() };
        // SAFETY: this CPU's own value, and no program interrupts another; the
        // helper has no arguments and is a plain load where there is a JIT.
        unsafe {
            let tick = bpf_jiffies64();
            if (*clock).tick != tick {
                *clock = Clock { tick, boot: self.now() };
            }
            (*clock).boot
        }
    }

    #[inline(always)]
    fn answered(&self, counter: u32) {
        increment(&ANSWERS, counter);
    }

    #[inline(always)]
    fn conflict(&self, counter: u32, mac: [u8; 6], now: u64) {
        let [a, b, c, d, e, f] = mac;
        if let Some(record) = CONFLICTS.get_ptr_mut(counter) {
            // SAFETY: the pointer is to a map's value, 8-byte aligned. Other CPUs
            // and user space race for it: words are stored whole, and the count
            // is added atomically.
            unsafe {
                (&raw mut (*record).mac)
                    .cast::<u64>()
                    .write_volatile(u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]));
                (&raw mut (*record).last).write_volatile(now);
                // `AtomicU64` has no addition on this target; kernels always had.
                asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) &raw mut (*record).count, in(reg) 1_u64);
            }
        }
    }
}

/// Stores a word and returns what was there, as one step for all CPUs and with a full
/// barrier (Linux 5.12; on arm64 5.18).
///
/// # Safety
/// The pointer is to an aligned word of a map's value.
#[inline(always)]
unsafe fn exchange(word: *mut u64, value: u64) -> u64 {
    let mut value = value;
    // SAFETY: the caller's. `AtomicU64` has no exchange on this target.
    unsafe { asm!("{0} = xchg_64({1} + 0, {0})", inout(reg) value, in(reg) word) };
    value
}

#[inline(always)]
fn increment(counters: &PerCpuArray<u64>, index: u32) {
    if let Some(counter) = counters.get_ptr_mut(index) {
        // SAFETY: this CPU's own value, and neither program interrupts the other:
        // both run in the softirq that receives.
        unsafe { *counter += 1 };
    }
}

/// Counts an outcome.
#[inline(always)]
fn count(outcome: Outcome) {
    increment(&COUNTS, outcome as u32);
}
