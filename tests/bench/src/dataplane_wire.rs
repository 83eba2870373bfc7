//! ARP on a veth against the kernel's own, whose address XDP lets pass.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Result, ensure};
use clarion_dataplane::{
    AddressKey, AttachMode, AttachedMode, Dataplane, Desired, Entry, Options, Plan, pass,
};
use clarion_prog_tests::frames::{ARP, Arp, BROADCAST, ethernet};
use clarion_prog_tests::sandbox::{self, Peer, ip};
use clarion_prog_tests::wire::{Wire, if_index, mac};

use super::GROUP;
use super::flood::{Flood, Order, Pace};
use crate::{Bar, Row, Rows};

/// Requests one at a time, for each of the two.
const EXCHANGES: usize = 5000;
/// Frames in one flood, and floods for each of the two.
const FLOOD: u64 = 100_000;
const FLOODS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(2);

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const KERNELS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// A node's interface with the program on it, and a client at its other end.
struct Bed {
    peer: Peer,
    dataplane: Dataplane,
    /// The far end receives by NAPI as long as this lives there.
    _pass: pass::Pass,
}

impl Bed {
    fn new(pin_dir: std::path::PathBuf) -> Result<Self> {
        let peer = Peer::new()?;
        peer.veth("node0", "client0")?;
        ip(&format!("addr add {KERNELS}/24 dev node0"))?;
        let pass = peer.run(|| -> Result<_> {
            ip(&format!("addr add {CLIENT}/24 dev client0"))?;
            Ok(pass::attach(if_index("client0")?)?)
        })??;
        let ifindex = if_index("node0")?;
        let mut dataplane =
            Dataplane::open(Options { pin_dir, mode: AttachMode::Native, ..Options::default() })?;
        let key = AddressKey { ifindex, vlan: 0, address: IpAddr::from(VIP) };
        let desired = Desired {
            interfaces: BTreeSet::from([ifindex]),
            addresses: BTreeMap::from([(key, Entry::Answer { mac: mac("node0")?, epoch: 1 })]),
        };
        let plan = Plan::new(&dataplane.observe()?, &desired);
        let report = dataplane.apply(&plan);
        ensure!(report.is_ok(), "the plan failed: {report:?}");
        ensure!(
            dataplane.attachments()?.get(&ifindex).is_some_and(|a| a.mode == AttachedMode::Native),
            "not native"
        );
        dataplane.beat()?;
        Ok(Self { peer, dataplane, _pass: pass })
    }

    fn answered(&self) -> Result<u64> {
        Ok(self.dataplane.counters()?.outcomes["arp_answered"])
    }
}

pub(super) fn run(rows: &mut Rows) -> Result<()> {
    let mut results = Vec::new();
    sandbox::enter(|bpffs| {
        let bed = Bed::new(sandbox::pin_dir(bpffs))?;
        one_at_a_time(&bed, &mut results)?;
        unicast_flood(&bed, &mut results)
    })?;
    results.into_iter().for_each(|row| rows.push(row));
    Ok(())
}

fn request(to: [u8; 6], from: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    ethernet(to, from, &[], ARP, &Arp::request((from, CLIENT), address).bytes())
}

/// Whether a frame is the answer for an address.
fn is_answer(frame: &[u8], address: Ipv4Addr) -> bool {
    frame.get(20..22) == Some(&[0, 2]) && frame.get(28..32) == Some(&address.octets())
}

fn one_at_a_time(bed: &Bed, results: &mut Vec<Row>) -> Result<()> {
    let before = bed.answered()?;
    let (ours, kernels) = bed.peer.run(|| -> Result<_> {
        let wire = Wire::open("client0", ARP)?;
        let from = mac("client0")?;
        let mut samples = (Vec::new(), Vec::new());
        for _ in 0..EXCHANGES {
            for (address, samples) in [(VIP, &mut samples.0), (KERNELS, &mut samples.1)] {
                let took = wire.exchange(&request(BROADCAST, from, address), PATIENCE, |frame| {
                    is_answer(frame, address)
                })?;
                samples.push(took.as_secs_f64() * 1e6);
            }
        }
        Ok(samples)
    })??;
    ensure!(bed.answered()? - before == EXCHANGES as u64, "not every request was answered by the program");
    results.push(
        Row::new(GROUP, "ARP request to answer on a veth, one at a time", "µs", &ours)
            .versus("the kernel's own ARP", &kernels)
            .bar(Bar::RatioAtMost(1.0)),
    );
    Ok(())
}

fn unicast_flood(bed: &Bed, results: &mut Vec<Row>) -> Result<()> {
    let to = mac("node0")?;
    let (mut ours, mut kernels) = (Flood::default(), Flood::default());
    for _ in 0..FLOODS {
        for (address, flood) in [(VIP, &mut ours), (KERNELS, &mut kernels)] {
            let order = Order { interface: "client0", to, from: CLIENT, address, pace: Pace::Full(FLOOD) };
            flood.run(&bed.peer, &bed.dataplane, order)?;
        }
    }
    results.push(
        Row::new(GROUP, "unicast ARP flood, answered", "%", &ours.answered)
            .versus("the kernel's own ARP, received", &kernels.received)
            .bar(Bar::AtLeast(100.0)),
    );
    results.push(
        Row::new(GROUP, "unicast ARP flood, answers", "1/s", &ours.rate)
            .versus("the kernel's own ARP", &kernels.rate)
            .bar(Bar::RatioAtLeast(1.0)),
    );
    Ok(())
}
