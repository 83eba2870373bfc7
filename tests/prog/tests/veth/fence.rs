//! Two programs at the two ends of a veth: by probes alone each holds the other's
//! lease, natively and in the network stack, over IPv4 and IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clarion_dataplane::{AddressKey, AttachMode, Dataplane, Desired, Entry, Options};
use clarion_fence::{Message, NodeId, Own, VOTERS, Vote, held, ok, open as unseal, probe, seal};
use clarion_prog_tests::fence::{INC, ME, PORT, STRANGER, TIMES, VOTER, keys, now, own};
use clarion_prog_tests::sandbox::{self, Peer, ip};
use clarion_prog_tests::wire::{if_index, mac};

use crate::resolve::answers;
use crate::{PATIENCE, VIP4, eventually, open, reconcile};

/// Long enough for an answer to arrive if there were one.
const SILENCE: Duration = Duration::from_millis(300);

/// A node: its program on one interface, and its agent's socket.
struct Node {
    dataplane: Dataplane,
    socket: UdpSocket,
    to: SocketAddr,
    peer: NodeId,
}

/// Makes a node of the calling thread's namespace.
fn node(
    mut dataplane: Dataplane,
    interface: &str,
    ends: [IpAddr; 2],
    ids: [NodeId; 2],
) -> anyhow::Result<Node> {
    let interfaces = [if_index(interface)?].into();
    reconcile(&mut dataplane, &Desired { interfaces, ..Desired::default() })?;
    let (now, [me, peer]) = (now(), ids);
    let mut voters = [NodeId::NOBODY; VOTERS];
    voters[0] = peer;
    dataplane.beat()?;
    let fence = dataplane.fence_mut();
    fence.set_keys(&keys())?;
    fence.set_own(Own { id: me, voters, ..own(now) })?;
    fence.watch(peer, now)?;
    fence.listen(PORT)?;
    let socket = UdpSocket::bind((ends[0], PORT)).context("cannot bind the agent's socket")?;
    Ok(Node { dataplane, socket, to: (ends[1], PORT).into(), peer })
}

impl Node {
    /// What an agent does each interval.
    fn probe(&self) -> anyhow::Result<()> {
        let fence = self.dataplane.fence();
        let (own, peer) = (fence.own()?.context("set")?, fence.peer(self.peer)?.context("watched")?);
        self.send(&probe(&own, &fence.leases()?, &peer, self.peer, now()))
    }

    fn send(&self, message: &Message) -> anyhow::Result<()> {
        let wire = seal(message, &keys().current);
        self.socket.send_to(bytemuck::bytes_of(&wire), self.to).context("cannot send")?;
        Ok(())
    }

    fn is_held(&self) -> anyhow::Result<bool> {
        let fence = self.dataplane.fence();
        let own = fence.own()?.context("set")?;
        Ok(ok(&own, &fence.leases()?, now()) && held(&own, &fence.leases()?, now()) == 1)
    }

    fn counted(&self, name: &str) -> anyhow::Result<u64> {
        Ok(self.dataplane.counters()?.outcomes[name])
    }
}

/// Node ME at `node0`, node VOTER at the far end.
fn two(bpffs: &Path, mode: AttachMode, is_v6: bool) -> anyhow::Result<(Peer, Node, Node)> {
    let far = Peer::new()?;
    far.veth("node0", "far0")?;
    let end = |last: u8| -> IpAddr {
        if is_v6 {
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)).into()
        } else {
            Ipv4Addr::new(192, 0, 2, last).into()
        }
    };
    ip("addr add 192.0.2.1/24 dev node0")?;
    ip("addr add 2001:db8::1/64 dev node0 nodad")?;
    let (here, there) = (end(1), end(2));
    let near = node(open(bpffs, mode)?, "node0", [here, there], [ME, VOTER])?;
    let options = Options { pin_dir: bpffs.join("other"), mode, ..Options::default() };
    let other = far.run(move || -> anyhow::Result<Node> {
        ip("addr add 192.0.2.2/24 dev far0")?;
        ip("addr add 2001:db8::2/64 dev far0 nodad")?;
        node(Dataplane::open(options)?, "far0", [there, here], [VOTER, ME])
    })??;
    Ok((far, near, other))
}

/// A test for each mode and family.
fn in_each(test: impl Fn(Peer, Node, Node) -> anyhow::Result<()> + Sync) {
    let modes = [AttachMode::Native, AttachMode::Generic, AttachMode::Tcx, AttachMode::Clsact];
    for (mode, is_v6) in modes.into_iter().flat_map(|m| [(m, false), (m, true)]) {
        sandbox::enter(|bpffs| {
            let (far, near, other) = two(bpffs, mode, is_v6)?;
            test(far, near, other).with_context(|| format!("{mode:?}, IPv6: {is_v6}"))
        })
        .expect("the same in each mode");
    }
}

/// Probes from the one end until both hold their lease.
fn until_held(near: &Node, other: &Node) -> anyhow::Result<()> {
    let both = || -> anyhow::Result<_> {
        near.probe()?;
        Ok(([near.is_held()?, other.is_held()?], near.dataplane.counters()?, other.dataplane.counters()?))
    };
    eventually("both are held", both, |(held, ..)| *held == [true; 2])
}

#[test]
fn probes_of_one_end_keep_the_leases_of_both_and_no_signal_reaches_a_socket() {
    in_each(|_far, near, other| {
        until_held(&near, &other)?;
        assert!(other.counted("signal_probe_answered")? >= 2);
        assert!(near.counted("signal_taken")? >= 2);
        for node in [&near, &other] {
            node.socket.set_nonblocking(true)?;
            assert!(node.socket.recv(&mut [0; 128]).is_err(), "the program left a signal to the agent");
        }
        Ok(())
    });
}

#[test]
fn an_owned_address_is_answered_on_the_wire_while_the_other_end_holds_the_lease() {
    in_each(|far, mut near, other| {
        let station = mac("node0")?;
        let key = AddressKey { ifindex: if_index("node0")?, vlan: 0, address: VIP4.into() };
        let entry = Entry::Owned { mac: station, station, epoch: 1, inc: INC };
        near.dataplane.set(&key, entry)?;
        assert!(!answers(&far, SILENCE)?, "answered without a lease");
        until_held(&near, &other)?;
        assert!(answers(&far, PATIENCE)?, "not answered although it is held");

        // Leases are of no worth any more from now on: as after the time that they last.
        let own = near.dataplane.fence().own()?.context("set")?;
        near.dataplane.fence_mut().set_own(Own { inc: INC + 1, ..own })?;
        assert!(!answers(&far, SILENCE)?, "answered as another incarnation");
        Ok(())
    });
}

#[test]
fn a_lease_ends_by_itself_when_no_probe_comes_through() {
    in_each(|far, mut near, other| {
        let station = mac("node0")?;
        let key = AddressKey { ifindex: if_index("node0")?, vlan: 0, address: VIP4.into() };
        near.dataplane.set(&key, Entry::Owned { mac: station, station, epoch: 1, inc: INC })?;
        let own = near.dataplane.fence().own()?.context("set")?;
        let times = clarion_fence::Times { lease: 1_000_000_000, ..TIMES };
        near.dataplane.fence_mut().set_own(Own { times, ..own })?;
        until_held(&near, &other)?;
        assert!(answers(&far, PATIENCE)?, "not answered although it is held");
        let silent = || Ok((answers(&far, SILENCE)?, near.dataplane.fence().leases()?));
        eventually("the address is silent", silent, |(answered, _)| !answered)?;
        let until = near.dataplane.fence().leases()?.0[0].until;
        assert!(until < now() && near.counted("fenced")? >= 1, "silent before its time");
        Ok(())
    });
}

#[test]
fn a_question_over_the_wire_brings_a_vote_into_the_ring() {
    in_each(|_far, mut near, mut other| {
        // Nothing was heard of it since the boot.
        other.dataplane.fence_mut().watch(STRANGER, 0)?;
        let mut votes = near.dataplane.fence_mut().take_votes().context("the first reader")?;
        let vote = Vote { about: STRANGER, inc: 4, nonce: 77 };
        let mut came = None;
        let asked = || {
            near.send(&Message::ask(ME, VOTER, INC, vote))?;
            came = came.or_else(|| votes.next_vote());
            Ok((came, other.dataplane.counters()?))
        };
        eventually("a vote", asked, |(came, _)| came.is_some())?;
        let yes = unseal(&came.context("a vote")?, &keys()).expect("well tagged");
        assert_eq!((yes.from, yes.to, yes.vote()), (VOTER, ME, vote));
        Ok(())
    });
}
