//! Answers on the wire: to packet sockets, and to a kernel that resolves.

use std::net::{IpAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clarion_dataplane::{AttachMode, Dataplane, Desired, Entry, pass};
use clarion_prog_tests::frames::{ARP, Arp, BROADCAST, IPV6, Neighbor, ethernet, group_mac, unpadded};
use clarion_prog_tests::sandbox::{self, Peer, ip, run};
use clarion_prog_tests::wire::{Wire, if_index, mac};

use crate::{PATIENCE, VIP4, VIP6, desired, eventually, open, reconcile};

/// Long enough for an answer to arrive if there were one.
const SILENCE: Duration = Duration::from_millis(300);

pub(crate) struct Bed {
    pub(crate) peer: Peer,
    pub(crate) dataplane: Dataplane,
    pub(crate) wanted: Desired,
    _pass: Option<pass::Pass>,
}

/// A node with both addresses, and a client that has addresses in their prefixes.
pub(crate) fn bed(bpffs: &std::path::Path, mode: AttachMode) -> anyhow::Result<Bed> {
    let peer = Peer::new()?;
    peer.veth("node0", "far0")?;
    let native = mode == AttachMode::Native;
    let pass = peer.run(move || -> anyhow::Result<_> {
        ip("addr add 192.0.2.2/24 dev far0")?;
        ip("addr add 2001:db8::2/64 dev far0 nodad")?;
        native.then(|| pass::attach(if_index("far0")?).map_err(anyhow::Error::from)).transpose()
    })??;
    let ifindex = if_index("node0")?;
    let mut dataplane = open(bpffs, mode)?;
    let wanted = desired(&[ifindex], mac("node0")?);
    reconcile(&mut dataplane, &wanted)?;
    dataplane.beat()?;
    Ok(Bed { peer, dataplane, wanted, _pass: pass })
}

/// A test in a sandbox of its own for each mode; the wire must not show which.
fn in_each_mode(test: impl Fn(Bed, &std::path::Path, AttachMode) -> anyhow::Result<()> + Sync) {
    for mode in [AttachMode::Native, AttachMode::Generic, AttachMode::Tcx, AttachMode::Clsact] {
        sandbox::enter(|bpffs| {
            let bed = bed(bpffs, mode)?;
            test(bed, bpffs, mode).with_context(|| format!("{mode:?}"))
        })
        .expect("the same in each mode");
    }
}

/// Whether a broadcast request for the IPv4 address is answered within `patience`.
pub(crate) fn answers(peer: &Peer, patience: Duration) -> anyhow::Result<bool> {
    peer.run(move || -> anyhow::Result<bool> {
        let wire = Wire::open("far0", ARP)?;
        let from = mac("far0")?;
        let request = Arp::request((from, "192.0.2.2".parse()?), VIP4);
        wire.send(&ethernet(BROADCAST, from, &[], ARP, &request.bytes()))?;
        let is_answer = |frame: &[u8]| frame[20..22] == [0, 2] && frame[28..32] == VIP4.octets();
        Ok(wire.expect(patience, is_answer).is_ok())
    })?
}

/// The MAC that the client's kernel knows for an address.
fn neighbour(address: IpAddr) -> anyhow::Result<Option<String>> {
    let output = Command::new("ip").args(["neigh", "show", &address.to_string(), "dev", "far0"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace();
    Ok(words.find(|word| *word == "lladdr").and_then(|_| words.next()).map(str::to_owned))
}

#[test]
fn a_clients_kernel_resolves_both_families() {
    in_each_mode(|bed, _, _| {
        let wanted = mac("node0")?.map(|byte| format!("{byte:02x}")).join(":");
        for address in [IpAddr::from(VIP4), IpAddr::from(VIP6)] {
            let wanted = wanted.clone();
            bed.peer.run(move || -> anyhow::Result<()> {
                // Any datagram makes the kernel ask.
                let from = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                UdpSocket::bind(from)?.send_to(b"?", (address, 9))?;
                eventually("the neighbour", || neighbour(address), |mac| mac.as_ref() == Some(&wanted))
            })??;
        }
        let counters = bed.dataplane.counters()?;
        assert!(counters.outcomes["arp_answered"] >= 1, "{counters:?}");
        assert!(counters.outcomes["ndp_answered"] >= 1, "{counters:?}");
        assert!(counters.answers.values().all(|count| *count >= 1), "{counters:?}");
        Ok(())
    });
}

#[test]
fn duplicate_address_detection_for_an_owned_address_fails() {
    in_each_mode(|bed, _, _| {
        bed.peer.run(|| -> anyhow::Result<()> {
            ip(&format!("addr add {VIP6}/64 dev far0"))?;
            let state = || -> anyhow::Result<String> {
                let output = Command::new("ip").args(["-6", "addr", "show", "dev", "far0"]).output()?;
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            };
            eventually("detection fails", state, |text| text.contains("dadfailed"))
        })??;
        assert!(bed.dataplane.counters()?.outcomes["ndp_dad_answered"] >= 1);
        Ok(())
    });
}

#[test]
fn arping_finds_the_address_and_its_duplicate_detection_does() {
    in_each_mode(|bed, _, _| {
        bed.peer.run(|| -> anyhow::Result<()> {
            run("arping", &format!("-q -c 1 -w 5 -I far0 {VIP4}"))?;
            // -D exits with 1 when somebody has the address.
            let duplicate = run("arping", &format!("-q -D -c 1 -w 5 -I far0 {VIP4}"));
            anyhow::ensure!(duplicate.is_err(), "the probe was not answered");
            Ok(())
        })??;
        let outcomes = bed.dataplane.counters()?.outcomes;
        assert!(outcomes["arp_answered"] >= 1 && outcomes["arp_probe_answered"] >= 1, "{outcomes:?}");
        Ok(())
    });
}

#[test]
fn an_address_that_the_host_holds_is_silent_until_the_grace_is_over_or_after_cleanup() {
    in_each_mode(|mut bed, bpffs, mode| {
        // As IPVS does: the address is local, and the kernel itself would answer.
        ip(&format!("addr add {VIP4}/32 dev lo"))?;
        let mut silent = bed.wanted.clone();
        silent.addresses.values_mut().for_each(|entry| *entry = Entry::Silence);
        reconcile(&mut bed.dataplane, &silent)?;
        assert!(!answers(&bed.peer, SILENCE)?, "answered although it is owned elsewhere");
        drop(std::mem::replace(&mut bed.dataplane, open(bpffs, mode)?));
        assert!(!answers(&bed.peer, SILENCE)?, "answered after a restart");
        Dataplane::cleanup(&sandbox::pin_dir(bpffs))?;
        assert!(answers(&bed.peer, PATIENCE)?, "the node is not as if without Clarion after cleanup");
        Ok(())
    });
}

#[test]
fn tagged_requests_are_answered_tagged_on_the_wire() {
    const VLAN: u16 = 100;
    in_each_mode(|mut bed, _, _| {
        let mut wanted = bed.wanted.clone();
        wanted.addresses = wanted
            .addresses
            .into_iter()
            .map(|(mut key, entry)| {
                key.vlan = VLAN;
                (key, entry)
            })
            .collect();
        reconcile(&mut bed.dataplane, &wanted)?;
        bed.peer.run(|| -> anyhow::Result<()> {
            let from = mac("far0")?;
            let request = Arp::request((from, "192.0.2.2".parse()?), VIP4);
            let wire = Wire::open("far0", EVERYTHING)?;
            wire.only_vlan(VLAN)?;
            wire.send(&ethernet(BROADCAST, from, &[(0x8100, VLAN)], ARP, &request.bytes()))?;
            wire.expect(PATIENCE, |frame| {
                frame[..6] == from && frame.windows(4).any(|bytes| bytes == VIP4.octets())
            })?;
            let solicitation = Neighbor::solicitation((from, "2001:db8::2".parse()?), VIP6);
            let to = group_mac(solicitation.destination);
            wire.send(&unpadded(to, from, &[(0x8100, VLAN)], IPV6, &solicitation.bytes()))?;
            wire.expect(PATIENCE, |frame| frame[..6] == from && frame.contains(&136))?;
            // What is served in a VLAN is not without it, nor in another.
            for tags in [&[][..], &[(0x8100, VLAN + 1)], &[(0x88a8, VLAN), (0x8100, VLAN)]] {
                let others = Wire::open("far0", ARP)?;
                others.send(&ethernet(BROADCAST, from, tags, ARP, &request.bytes()))?;
                let deadline = Instant::now() + SILENCE;
                while let Some(frame) = others.receive(deadline)? {
                    anyhow::ensure!(frame[20..22] != [0, 2], "{tags:?} was answered: {frame:02x?}");
                }
            }
            Ok(())
        })??;
        let outcomes = bed.dataplane.counters()?.outcomes;
        assert_eq!((outcomes["arp_answered"], outcomes["vlan_stacked"]), (1, 1), "{outcomes:?}");
        Ok(())
    });
}

/// `ETH_P_ALL`: also what is sent, and frames whose type is behind a tag.
const EVERYTHING: u16 = 3;

#[test]
fn a_conflict_is_reported_with_the_strangers_mac_and_the_time() {
    in_each_mode(|bed, _, _| {
        let stranger = bed.peer.run(|| -> anyhow::Result<_> {
            let from = mac("far0")?;
            let announcement = Arp::request((from, VIP4), VIP4);
            Wire::open("far0", ARP)?.send(&ethernet(BROADCAST, from, &[], ARP, &announcement.bytes()))?;
            Ok(from)
        })??;
        let begin = Instant::now();
        eventually(
            "the conflict",
            || Ok(bed.dataplane.counters()?.conflicts),
            |conflicts| !conflicts.is_empty(),
        )?;
        let conflicts = bed.dataplane.counters()?.conflicts;
        let (key, report) = conflicts.first_key_value().expect("one");
        assert_eq!((key.address, report.mac, report.count), (IpAddr::from(VIP4), stranger, 1));
        assert!(!report.last.is_zero() && begin.elapsed() < PATIENCE);
        Ok(())
    });
}

#[test]
fn a_changed_program_takes_over_and_a_restart_adopts_it_with_no_request_unanswered() {
    in_each_mode(|mut bed, bpffs, mode| {
        let (done, peer) = (AtomicBool::new(false), &bed.peer);
        let dataplane = &mut bed.dataplane;
        let wanted = &bed.wanted;
        thread::scope(|scope| -> anyhow::Result<()> {
            let asks = scope.spawn(|| -> anyhow::Result<(u32, u32)> {
                let (mut asked, mut dark) = (0, 0);
                while !done.load(Ordering::Relaxed) {
                    asked += 1;
                    dark += u32::from(!answers(peer, SILENCE)?);
                }
                Ok((asked, dark))
            });
            for _ in 0..ROUNDS {
                for name in ["program", "program-tc"] {
                    // As after an upgrade: the pinned program is not the one that runs.
                    std::fs::remove_file(crate::pins(bpffs).join(name))?;
                }
                *dataplane = open(bpffs, mode)?;
                let observed = dataplane.observe()?;
                anyhow::ensure!(observed.interfaces.values().all(|there| !there.current), "{observed:?}");
                reconcile(dataplane, wanted)?;
            }
            done.store(true, Ordering::Relaxed);
            let (asked, dark) = asks.join().expect("no panic")?;
            anyhow::ensure!(dark == 0 && asked > ROUNDS, "{dark} of {asked} requests were not answered");
            Ok(())
        })
    });
}

/// Upgrades while a client asks all the time.
const ROUNDS: u32 = 5;
