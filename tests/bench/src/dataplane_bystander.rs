//! A broadcast ARP flood on a switch, and what it does to others.
//!
//! Two bystanders ask and answer by UDP all the time: one pair on the same switch,
//! which the flood reaches as it reaches everybody, and one whose datagrams the
//! flooded node forwards. They are measured without a flood, during one for an
//! address of ours and during one for the node's own address, at the same rate (the
//! slower full rate of the two), taking turns. What the kernel's own ARP does to
//! others is what everybody lives with, so that is the rival.
//!
//! A bystander suffers most on the processor that the flood keeps busy, and where
//! the scheduler puts it is chance: so the flooder is bound to one, the bystanders
//! to each in turn, and tails are taken over blocks in which each had its share.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clarion_dataplane::{AddressKey, AttachMode, Dataplane, Desired, Entry, Options, Plan, pass};
use clarion_prog_tests::frames::BROADCAST;
use clarion_prog_tests::sandbox::{self, Peer, ip};
use clarion_prog_tests::wire::{if_index, mac};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::GROUP;
use super::flood::{Flood, Order, Pace};
use crate::{Bar, Row, Rows};

/// Frames in one flood at full rate, and floods for each of the two.
const FLOOD: u64 = 100_000;
const FLOODS: usize = 5;
/// Blocks, the rounds of each, in which every one of the three phases has its turn,
/// and the length of a phase.
const BLOCKS: usize = 6;
const ROUNDS: usize = 8;
const PHASE: Duration = Duration::from_millis(150);
/// A bystander's pace: often enough for a percentile within one phase.
const PAUSE: Duration = Duration::from_micros(400);
/// A request that is lost counts as this.
const LOST: Duration = Duration::from_millis(100);

/// The program must do no more harm than the kernel's own ARP at the same rate. Two
/// measurements of the same thing differ by up to a tenth in the median and a fifth
/// in the tail on two cores that three parties share; less could not be told.
const MEDIAN_BAR: f64 = 1.1;
const TAIL_BAR: f64 = 1.2;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const FLOODER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const LEFT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
const RIGHT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 4);
const POD: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const ECHO_PORT: u16 = 7;

/// A switch with the flooder and two others, the node on it, and a pod behind the
/// node.
struct Bed {
    flooder: Peer,
    left: Peer,
    right: Peer,
    pod: Peer,
    dataplane: Dataplane,
    // The switch's port to the node receives by NAPI as long as this lives.
    _pass: pass::Pass,
    _switch: Peer,
}

impl Bed {
    fn new(pin_dir: PathBuf) -> Result<Self> {
        let [switch, flooder, left, right, pod] =
            [Peer::new()?, Peer::new()?, Peer::new()?, Peer::new()?, Peer::new()?];
        switch.run(|| -> Result<()> {
            ip("link add br0 type bridge mcast_snooping 0")?;
            ip("link set br0 up")
        })??;
        switch.veth("node0", "node")?;
        for (peer, port, address) in
            [(&flooder, "flooder", FLOODER), (&left, "left", LEFT), (&right, "right", RIGHT)]
        {
            peer.join("eth0", &switch, port)?;
            peer.run(move || -> Result<()> {
                ip(&format!("addr add {address}/24 dev eth0"))?;
                ip(&format!("route add default via {NODE}"))
            })??;
        }
        let pass = switch.run(|| -> Result<_> {
            for port in ["node", "flooder", "left", "right"] {
                ip(&format!("link set {port} master br0"))?;
            }
            Ok(pass::attach(if_index("node")?)?)
        })??;
        pod.veth("pod0", "eth0")?;
        pod.run(|| -> Result<()> {
            ip(&format!("addr add {POD}/24 dev eth0"))?;
            ip("route add default via 198.51.100.1")
        })??;
        ip(&format!("addr add {NODE}/24 dev node0"))?;
        ip("addr add 198.51.100.1/24 dev pod0")?;
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        let dataplane = answering(pin_dir)?;
        Ok(Self { flooder, left, right, pod, dataplane, _pass: pass, _switch: switch })
    }

    fn flood(&self, flood: &mut Flood, address: Ipv4Addr, pace: Pace) -> Result<()> {
        let order = Order { interface: "eth0", to: BROADCAST, from: FLOODER, address, pace };
        flood.run(&self.flooder, &self.dataplane, order)
    }
}

fn answering(pin_dir: PathBuf) -> Result<Dataplane> {
    let mut dataplane = Dataplane::open(Options { pin_dir, mode: AttachMode::Native, ..Options::default() })?;
    let ifindex = if_index("node0")?;
    let key = AddressKey { ifindex, vlan: 0, address: IpAddr::from(VIP) };
    let desired = Desired {
        interfaces: BTreeSet::from([ifindex]),
        addresses: BTreeMap::from([(key, Entry::Answer { mac: mac("node0")?, epoch: 1 })]),
    };
    let report = dataplane.apply(&Plan::new(&dataplane.observe()?, &desired));
    ensure!(report.is_ok(), "the plan failed: {report:?}");
    dataplane.beat()?;
    Ok(dataplane)
}

pub(super) fn run(rows: &mut Rows) -> Result<()> {
    let (floods, paced, rate, pairs) = sandbox::enter(|bpffs| {
        let bed = Bed::new(sandbox::pin_dir(bpffs))?;
        let floods = full_rate(&bed)?;
        let [ours, kernels] = &floods;
        let rate = |flood: &Flood| flood.total.sent as f64 / flood.total.took.as_secs_f64();
        let rate = rate(ours).min(rate(kernels));
        let (paced, pairs) = bystanders(&bed, rate)?;
        Ok((floods, paced, rate, pairs))
    })?;
    flood_rows(rows, &floods);
    for ([quiet, ours, kernels], who) in pairs.iter().zip(["on the switch", "through the node"]) {
        let name = |what: &str| format!("bystander {who}, {what}");
        rows.push(
            Row::new(GROUP, &name("round trip in a flood"), "µs", &ours.samples)
                .versus("in the kernel's own, same rate", &kernels.samples)
                .bar(Bar::RatioAtMost(MEDIAN_BAR)),
        );
        rows.push(
            Row::new(GROUP, &name("p99 in a flood"), "µs", &ours.tails)
                .versus("in the kernel's own, same rate", &kernels.tails)
                .bar(Bar::RatioAtMost(TAIL_BAR)),
        );
        rows.push(
            Row::new(GROUP, &name("round trip in a flood and in none"), "µs", &ours.samples)
                .versus("without a flood", &quiet.samples),
        );
        rows.push(
            Row::new(GROUP, &name("p99 in a flood and in none"), "µs", &ours.tails)
                .versus("without a flood", &quiet.tails),
        );
    }
    let length = PHASE.as_secs_f64() * (BLOCKS * ROUNDS) as f64;
    let achieved = paced.each_ref().map(|flood| flood.total.sent as f64 / length);
    rows.note(format!(
        "the bystanders' floods were asked for {rate:.0} a second; ours had {:.0}, the kernel's {:.0}",
        achieved[0], achieved[1]
    ));
    Ok(())
}

/// Floods at the sender's full rate, ours and the kernel's taking turns.
fn full_rate(bed: &Bed) -> Result<[Flood; 2]> {
    let mut floods = [Flood::default(), Flood::default()];
    for _ in 0..FLOODS {
        for (flood, address) in floods.iter_mut().zip([VIP, NODE]) {
            bed.flood(flood, address, Pace::Full(FLOOD))?;
        }
    }
    Ok(floods)
}

fn flood_rows(rows: &mut Rows, [ours, kernels]: &[Flood; 2]) {
    rows.push(
        Row::new(GROUP, "broadcast ARP flood, answered by the program's count", "%", &ours.answered)
            .versus("the kernel's own ARP, received", &kernels.received)
            .bar(Bar::AtLeast(100.0)),
    );
    rows.push(
        Row::new(GROUP, "broadcast ARP flood, answers received by the flooder", "%", &ours.received)
            .versus("the kernel's own ARP, received", &kernels.received)
            .bar(Bar::AtLeast(100.0)),
    );
    rows.push(
        Row::new(GROUP, "broadcast ARP flood, answers", "1/s", &ours.rate)
            .versus("the kernel's own ARP", &kernels.rate),
    );
    let say = |whose: &str, total: &super::flood::Tally| {
        let counted =
            if total.answered > 0 { format!(", {} answered", total.answered) } else { String::new() };
        let (sent, refused, received) = (total.sent, total.refused, total.received);
        format!(
            "{whose}: {sent} sent, {refused} more refused by the sender's queue{counted}, {received} received"
        )
    };
    rows.note(format!(
        "broadcast floods, {}; {}",
        say("ours", &ours.total),
        say("the kernel's", &kernels.total)
    ));
}

/// Round trips of one bystander in one kind of phase, in µs.
#[derive(Debug, Default)]
struct Trips {
    samples: Vec<f64>,
    /// The 99th percentile of each block.
    tails: Vec<f64>,
    /// Of the present block.
    block: Vec<f64>,
}

impl Trips {
    fn end_block(&mut self) {
        self.tails.push(Row::new(GROUP, "", "µs", &self.block).p99);
        self.samples.append(&mut self.block);
    }
}

/// By phase: none, ours, the kernel's.
type ByPhase = [Trips; 3];

/// Measures both bystanders; also returns the floods, ours and the kernel's.
fn bystanders(bed: &Bed, rate: f64) -> Result<([Flood; 2], [ByPhase; 2])> {
    let (mut floods, mut pairs) = <([Flood; 2], [ByPhase; 2])>::default();
    let processors = processors()?;
    let first = *processors.first().context("no processor")?;
    bed.flooder.run(move || bind(first))??;
    // One that does not count resolves neighbours and warms caches.
    round(bed, first, 0, rate, &mut floods, &mut pairs)?;
    (floods, pairs) = Default::default();
    for _ in 0..BLOCKS {
        for number in 0..ROUNDS {
            let processor = processors[number % processors.len()];
            round(bed, processor, number, rate, &mut floods, &mut pairs)?;
        }
        pairs.iter_mut().flatten().for_each(Trips::end_block);
    }
    Ok((floods, pairs))
}

/// The three phases once, with the bystanders on a processor.
fn round(
    bed: &Bed,
    processor: usize,
    number: usize,
    rate: f64,
    [ours, kernels]: &mut [Flood; 2],
    pairs: &mut [ByPhase; 2],
) -> Result<()> {
    // Every phase is as often the first.
    for phase in (0..3).map(|turn| (turn + number) % 3) {
        bed.dataplane.beat()?;
        let on_switch = Bystander::start(&bed.left, &bed.right, RIGHT, processor)?;
        let through = Bystander::start(&bed.left, &bed.pod, POD, processor)?;
        let result = match phase {
            0 => {
                thread::sleep(PHASE);
                Ok(())
            }
            1 => bed.flood(ours, VIP, Pace::PerSecond(rate, PHASE)),
            _ => bed.flood(kernels, NODE, Pace::PerSecond(rate, PHASE)),
        };
        let samples = [on_switch.stop()?, through.stop()?];
        result?;
        for (pair, samples) in pairs.iter_mut().zip(samples) {
            pair[phase].block.extend(samples);
        }
    }
    Ok(())
}

/// The processors that this process may use.
fn processors() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|number| allowed.is_set(*number).unwrap_or(false)).collect())
}

/// Binds the calling thread to a processor.
fn bind(processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// A UDP echo between two peers.
struct Bystander {
    stop: Arc<AtomicBool>,
    asking: thread::JoinHandle<Result<Vec<f64>>>,
    echoing: thread::JoinHandle<Result<()>>,
}

impl Bystander {
    fn start(asker: &Peer, echoer: &Peer, address: Ipv4Addr, processor: usize) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        // A socket stays in the namespace that it was made in.
        let server = echoer.run(move || UdpSocket::bind((address, ECHO_PORT)))??;
        let client = asker.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(LOST))?;
        }
        client.connect((address, ECHO_PORT))?;
        let echoing = thread::spawn({
            let stop = Arc::clone(&stop);
            move || bind(processor).and_then(|()| echo(&server, &stop))
        });
        let asking = thread::spawn({
            let stop = Arc::clone(&stop);
            move || bind(processor).and_then(|()| ask(&client, &stop))
        });
        Ok(Self { stop, asking, echoing })
    }

    fn stop(self) -> Result<Vec<f64>> {
        self.stop.store(true, Ordering::Relaxed);
        let samples = self.asking.join().ok().context("the bystander panicked")??;
        self.echoing.join().ok().context("the echo panicked")??;
        ensure!(!samples.is_empty(), "a bystander had no round trip at all");
        Ok(samples)
    }
}

fn echo(socket: &UdpSocket, stop: &AtomicBool) -> Result<()> {
    let mut buffer = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..length], from)?;
        }
    }
    Ok(())
}

fn ask(socket: &UdpSocket, stop: &AtomicBool) -> Result<Vec<f64>> {
    let mut buffer = [0; 64];
    let mut samples = Vec::new();
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let begin = Instant::now();
        socket.send(&number.to_be_bytes())?;
        // One that is lost counts as the whole timeout; late ones are skipped.
        while let Ok(length) = socket.recv(&mut buffer) {
            if buffer[..length] == number.to_be_bytes() {
                break;
            }
        }
        samples.push(begin.elapsed().as_secs_f64() * 1e6);
        thread::sleep(PAUSE);
    }
    Ok(samples)
}
