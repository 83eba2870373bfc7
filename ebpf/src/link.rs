//! Ethernet and one VLAN tag: decides in a few instructions what leaves at once.
//!
//! One tag, 802.1Q or 802.1ad, is read, be it in the frame or taken off before
//! ([`Frame::stripped`]); its id is part of an address's key. A frame with two tags passes: a key has one id, and a provider's double-tagged
//! frames do not end at a node. What would be asked there is counted, so that who
//! wonders why nobody answers finds it. The tag's priority stays in the answer.

use bytemuck::{Pod, Zeroable};
use clarion_abi::Outcome;

use crate::frame::{Ethernet, Frame, Tables};
use crate::signal::{self, Signal};
use crate::{arp, ndp};

/// What follows an Ethernet type that announces a tag.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Tag {
    control: [u8; 2],
    ether_type: [u8; 2],
}

/// Length of the header without a tag, with one, with two: where the payload begins.
const UNTAGGED: usize = 14;
const TAGGED: usize = 18;
const STACKED: usize = 22;

const ARP: u16 = 0x0806_u16.to_be();
const IPV4: u16 = 0x0800_u16.to_be();
const IPV6: u16 = 0x86dd_u16.to_be();
const VLAN: u16 = 0x8100_u16.to_be();
const PROVIDER_VLAN: u16 = 0x88a8_u16.to_be();

/// Does all that there is to do with a frame. `None`: neither ARP nor neighbour
/// discovery nor a signal; it passes, uncounted. The frame is changed only where the outcome's
/// verdict is to answer.
#[inline(always)]
pub fn handle<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Option<Outcome> {
    let ether_type = u16::from_ne_bytes(frame.view::<Ethernet>(0)?.ether_type);
    let signal = if ether_type == ARP {
        let vlan = frame.stripped().unwrap_or(0);
        return Some(arp::handle::<_, _, UNTAGGED>(frame, tables, vlan));
    } else if ether_type == IPV6 {
        let vlan = frame.stripped().unwrap_or(0);
        let outcome = ndp::handle::<_, _, UNTAGGED>(frame, tables, vlan);
        if outcome.is_some() {
            return outcome;
        }
        signal::in_v6::<_, _, UNTAGGED>(frame, tables)?
    } else if ether_type == IPV4 {
        signal::in_v4::<_, _, UNTAGGED>(frame, tables)?
    } else if ether_type == VLAN || ether_type == PROVIDER_VLAN {
        if frame.stripped().is_some() {
            return stacked::<_, UNTAGGED, TAGGED>(frame);
        }
        match tagged(frame, tables)? {
            Tagged::Done(outcome) => return Some(outcome),
            Tagged::Signal(signal) => signal,
        }
    } else {
        return None;
    };
    // In one place, whatever it is in: what follows is most of the program.
    signal::handle(frame, tables, signal)
}

/// What is behind a tag.
enum Tagged {
    Done(Outcome),
    Signal(Signal),
}

#[inline(always)]
fn tagged<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Option<Tagged> {
    let tag = *frame.view::<Tag>(UNTAGGED)?;
    // Priority (3 bits) and drop eligibility (1 bit) are above the id. Id 0 only
    // carries a priority: the frame is of no VLAN (802.1Q §9.6).
    let vlan = u16::from_be_bytes(tag.control) & 0x0fff;
    match u16::from_ne_bytes(tag.ether_type) {
        ARP => Some(Tagged::Done(arp::handle::<_, _, TAGGED>(frame, tables, vlan))),
        IPV6 => match ndp::handle::<_, _, TAGGED>(frame, tables, vlan) {
            Some(outcome) => Some(Tagged::Done(outcome)),
            None => signal::in_v6::<_, _, TAGGED>(frame, tables).map(Tagged::Signal),
        },
        IPV4 => signal::in_v4::<_, _, TAGGED>(frame, tables).map(Tagged::Signal),
        VLAN | PROVIDER_VLAN => stacked::<_, TAGGED, STACKED>(frame).map(Tagged::Done),
        _ => None,
    }
}

/// Two tags, the inner one at `TAG`, and what is behind it at `AT`.
#[inline(always)]
fn stacked<F: Frame, const TAG: usize, const AT: usize>(frame: &F) -> Option<Outcome> {
    let concerns = match u16::from_ne_bytes(frame.view::<Tag>(TAG)?.ether_type) {
        ARP => true,
        IPV6 => ndp::kind::<F, AT>(frame).is_some(),
        _ => false,
    };
    concerns.then_some(Outcome::VlanStacked)
}
