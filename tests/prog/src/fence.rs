//! A node that takes in signals: its maps, and messages of its peers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clarion_dataplane::Dataplane;
use clarion_fence::{
    ABLE, FLAG_ABLE, FLAG_GRANT, FLAG_OK, Key, Keys, Kind, Message, NodeId, Own, Times, VOTERS, Wire, seal,
};
use nix::time::{ClockId, clock_gettime};

use crate::frames::{Mac, Udp};

/// The port of signals.
pub const PORT: u16 = 7947;
/// This node, its two voters, and nodes that it does not watch.
pub const ME: NodeId = NodeId(0x1111);
/// First voter.
pub const VOTER: NodeId = NodeId(0x2222);
/// Second voter.
pub const OTHER: NodeId = NodeId(0x3333);
/// Not watched.
pub const STRANGER: NodeId = NodeId(0x9999);
/// This node's incarnation.
pub const INC: u64 = 5;
/// This node's MAC, and its peer's.
pub const STATION: Mac = [2, 0, 0, 0, 0, 0xaa];
/// The peer's.
pub const PEER: Mac = [2, 0, 0, 0, 0, 1];

const SECOND: u64 = 1_000_000_000;
/// Long, so that no test depends on how fast it runs.
pub const TIMES: Times =
    Times { lease: 100 * SECOND, margin: SECOND, window: 50 * SECOND, grace: 1000 * SECOND };

/// The keys of the cluster: one is being replaced by the other.
#[must_use]
pub fn keys() -> Keys {
    Keys { current: Key::new(1, [7; 16]), other: Key::new(2, [8; 16]) }
}

/// The boot clock, in nanoseconds.
///
/// # Panics
/// There is none.
#[must_use]
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("a boot clock");
    u64::try_from(std::time::Duration::from(now).as_nanos()).expect("584 years")
}

/// This node, with two voters, of which one must hold it.
#[must_use]
pub fn own(heartbeat: u64) -> Own {
    let mut voters = [NodeId::NOBODY; VOTERS];
    (voters[0], voters[1]) = (VOTER, OTHER);
    Own { id: ME, inc: INC, heartbeat, voters, needs: 1, flags: ABLE, times: TIMES }
}

/// Switches a node's fence on, and watches both voters since a second before now.
///
/// # Errors
/// A map could not be written.
pub fn switch_on(dataplane: &mut Dataplane, now: u64) -> anyhow::Result<()> {
    dataplane.beat()?;
    let fence = dataplane.fence_mut();
    fence.set_keys(&keys())?;
    fence.set_own(own(now))?;
    for voter in [VOTER, OTHER] {
        fence.watch(voter, now - SECOND)?;
    }
    Ok(fence.listen(PORT)?)
}

/// A message of a peer's: it hears us, holds its own leases, and grants us one for
/// the stamp that it echoes.
#[must_use]
pub fn message(kind: Kind, from: NodeId, stamp: u64, echo: u64) -> Message {
    let flags = FLAG_ABLE | FLAG_GRANT | FLAG_OK;
    Message { kind, from, to: ME, stamp, inc: 1, echo, echo_inc: INC, beat_ms: 3, flags }
}

/// Seals a message under the current key, in a datagram from the peer to us.
#[must_use]
pub fn datagram(message: &Message, is_v6: bool) -> Udp {
    datagram_of(&seal(message, &keys().current), is_v6)
}

/// A datagram with a sealed message.
#[must_use]
pub fn datagram_of(wire: &Wire, is_v6: bool) -> Udp {
    let end = |last: u8| -> IpAddr {
        if is_v6 {
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)).into()
        } else {
            Ipv4Addr::new(192, 0, 2, last).into()
        }
    };
    Udp::new([STATION, PEER], [end(2), end(1)], [PORT, PORT], bytemuck::bytes_of(wire))
}
