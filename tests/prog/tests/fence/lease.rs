//! An owned address is answered while the leases hold, and not otherwise.

use std::net::Ipv4Addr;

use clarion_abi::Outcome;
use clarion_dataplane::{AddressKey, Dataplane, Entry, Options};
use clarion_fence::{FLAG_GRANT, Kind, Message, NEVER, NodeId, Own};
use clarion_prog_tests::fence::{INC, OTHER, PEER, STATION, STRANGER, TIMES, VOTER, message, now, own};
use clarion_prog_tests::frames::{ARP, Arp, BROADCAST, IPV6, Mac, Neighbor, ethernet, group_mac, unpadded};
use clarion_prog_tests::run::Hook;
use clarion_prog_tests::sandbox;

use crate::{Bed, on_a_node};

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const NEXT: Mac = [2, 0, 0, 0, 0, 0xbb];

fn key(address: std::net::IpAddr) -> AddressKey {
    AddressKey { ifindex: 1, vlan: 0, address }
}

fn vip6() -> std::net::Ipv6Addr {
    "2001:db8::10".parse().expect("valid")
}

fn owned(inc: u64) -> Entry {
    Entry::Owned { mac: STATION, station: STATION, epoch: 3, inc }
}

fn take(bed: &mut Bed, inc: u64) -> anyhow::Result<()> {
    bed.dataplane.set(&key(VIP.into()), owned(inc))?;
    Ok(bed.dataplane.set(&key(vip6().into()), owned(inc))?)
}

/// Both families are answered, or fenced.
fn answered(bed: &Bed, name: &str, expected: bool) -> anyhow::Result<()> {
    let request = Arp::request((PEER, "192.0.2.1".parse()?), VIP).bytes();
    let outcome = if expected { Outcome::ArpAnswered } else { Outcome::Fenced };
    bed.run(name, &ethernet(BROADCAST, PEER, &[], ARP, &request), Some(outcome))?;
    let packet = Neighbor::solicitation((PEER, "2001:db8::1".parse()?), vip6());
    let frame = unpadded(group_mac(packet.destination), PEER, &[], IPV6, &packet.bytes());
    let outcome = if expected { Outcome::NdpAnswered } else { Outcome::Fenced };
    bed.run(name, &frame, Some(outcome)).map(drop)
}

/// A voter's answer that grants a lease for one of our stamps.
fn grant(bed: &Bed, voter: NodeId, stamp: u64, echo: u64) -> anyhow::Result<()> {
    bed.send("a grant", &message(Kind::Answer, voter, stamp, echo), Outcome::SignalTaken).map(drop)
}

#[test]
fn an_owned_address_is_answered_while_one_of_two_voters_holds_the_lease() {
    on_a_node(|mut bed| {
        take(&mut bed, INC)?;
        answered(&bed, "before any lease", false)?;
        // The lease ended a second ago.
        grant(&bed, VOTER, 1, bed.now - TIMES.lease - 1_000_000_000)?;
        answered(&bed, "an old lease", false)?;
        // A third of it is left: less than what the fast clock asks for.
        grant(&bed, VOTER, 2, bed.now - TIMES.lease * 2 / 3)?;
        answered(&bed, "a third of a lease", true)?;
        grant(&bed, VOTER, 3, now())?;
        answered(&bed, "a fresh lease", true)
    });
}

#[test]
fn a_lease_counts_from_the_stamp_and_needs_the_grant_the_incarnation_and_a_voter() {
    let now = now();
    let table: [(&str, Message, bool); 6] = [
        ("granted", message(Kind::Answer, VOTER, 1, now), true),
        ("by a probe", message(Kind::Probe, OTHER, 1, now), true),
        ("no grant", Message { flags: !FLAG_GRANT, ..message(Kind::Answer, VOTER, 1, now) }, false),
        (
            "another boot's stamp",
            Message { echo_inc: INC - 1, ..message(Kind::Answer, VOTER, 1, now) },
            false,
        ),
        ("a stamp from the future", message(Kind::Answer, VOTER, 1, now * 2), false),
        ("no voter", message(Kind::Answer, STRANGER, 1, now), false),
    ];
    for (name, message, expected) in table {
        on_a_node(|mut bed| {
            take(&mut bed, INC)?;
            bed.dataplane.fence_mut().watch(STRANGER, now)?;
            let outcome =
                if message.kind == Kind::Probe { Outcome::SignalProbeAnswered } else { Outcome::SignalTaken };
            bed.send(name, &message, outcome)?;
            answered(&bed, name, expected)
        });
    }
}

#[test]
fn what_the_agent_says_about_the_node_counts_at_once() {
    on_a_node(|mut bed| {
        take(&mut bed, INC)?;
        grant(&bed, VOTER, 1, now())?;
        let voters = own(0).voters;
        let table: [(&str, Own, bool); 7] = [
            ("as before", own(bed.now), true),
            ("another incarnation", Own { inc: INC + 1, ..own(bed.now) }, false),
            ("both voters needed", Own { needs: 2, ..own(bed.now) }, false),
            ("fenced whatever is held", Own { needs: NEVER, ..own(bed.now) }, false),
            ("that voter is none any more", Own { voters: voters.map(|_| OTHER), ..own(bed.now) }, false),
            ("no lease needed", Own { needs: 0, voters: voters.map(|_| OTHER), ..own(bed.now) }, true),
            ("no sign of life", Own { heartbeat: 0, ..own(bed.now) }, false),
        ];
        for (name, own, expected) in table {
            bed.dataplane.fence_mut().set_own(own)?;
            assert_eq!(bed.dataplane.fence().own()?, Some(own));
            answered(&bed, name, expected)?;
        }
        Ok(())
    });
}

#[test]
fn an_entry_of_another_incarnation_is_not_answered() {
    on_a_node(|mut bed| {
        grant(&bed, VOTER, 1, now())?;
        for (inc, expected) in [(INC, true), (INC - 1, false), (INC + 1, false)] {
            take(&mut bed, inc)?;
            answered(&bed, &format!("entry of {inc}"), expected)?;
        }
        assert!(bed.dataplane.set(&key(VIP.into()), owned(0)).is_err(), "0 is nobody's");
        Ok(())
    });
}

#[test]
fn while_it_is_handed_over_the_answer_names_the_next_owner_and_comes_from_here() {
    on_a_node(|mut bed| {
        grant(&bed, VOTER, 1, now())?;
        let entry = Entry::Owned { mac: NEXT, station: STATION, epoch: 3, inc: INC };
        bed.dataplane.set(&key(VIP.into()), entry)?;
        let request = Arp::request((PEER, "192.0.2.1".parse()?), VIP);
        let answer = Arp::reply((NEXT, VIP), request.sender).bytes();
        for to in [BROADCAST, STATION] {
            let asked = ethernet(to, PEER, &[], ARP, &request.bytes());
            let ran = bed.run("handed over", &asked, Some(Outcome::ArpAnswered))?;
            assert_eq!(ran.frame, ethernet(PEER, STATION, &[], ARP, &answer));
        }
        // Neither of the two claims what is not its own.
        for mac in [NEXT, STATION] {
            let claim = ethernet(BROADCAST, mac, &[], ARP, &Arp::reply((mac, VIP), (mac, VIP)).bytes());
            bed.run("a claim", &claim, Some(Outcome::ArpNoRequest))?;
        }
        let claim = ethernet(BROADCAST, PEER, &[], ARP, &Arp::reply((PEER, VIP), (PEER, VIP)).bytes());
        bed.run("a stranger's", &claim, Some(Outcome::ArpConflict)).map(drop)
    });
}

#[test]
fn the_fence_outlives_the_process_and_a_restarted_one_finds_everything() {
    sandbox::enter(|bpffs| {
        let mut bed = Bed::new(bpffs, Hook::Tc)?;
        take(&mut bed, INC)?;
        let stamp = now();
        grant(&bed, VOTER, 7, stamp)?;
        bed.dataplane.fence_mut().set_granted(OTHER, 8)?;
        let Bed { dataplane, pinned, now } = bed;
        drop(dataplane);
        let dataplane = Dataplane::open(Options { pin_dir: sandbox::pin_dir(bpffs), ..Options::default() })?;
        let fence = dataplane.fence();
        assert_eq!(fence.own()?, Some(own(now)));
        assert_eq!(fence.leases()?.0[0].until, stamp + TIMES.lease);
        assert_eq!(fence.peer(VOTER)?.expect("watched").stamp, 7);
        assert_eq!(fence.granted(OTHER)?, 8);
        assert_eq!(fence.peers()?.len(), 2);
        let entries = dataplane.observe()?.addresses;
        assert_eq!(entries[&key(VIP.into())], owned(INC));
        answered(&Bed { dataplane, pinned, now }, "after the restart", true)
    })
    .expect("a test that passes");
}

#[test]
fn on_the_first_start_since_boot_nothing_is_known() {
    sandbox::enter(|bpffs| {
        let dataplane = Dataplane::open(Options { pin_dir: sandbox::pin_dir(bpffs), ..Options::default() })?;
        let fence = dataplane.fence();
        assert_eq!((fence.own()?, fence.peers()?, fence.peer(VOTER)?), (None, Vec::new(), None));
        Ok(())
    })
    .expect("a test that passes");
}
