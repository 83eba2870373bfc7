//! ARP on a veth against the kernel's own, whose address XDP lets pass.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clarion_dataplane::{
    AddressKey, AttachMode, AttachedMode, Dataplane, Desired, Entry, Options, Plan, pass,
};
use clarion_prog_tests::frames::{ARP, Arp, BROADCAST, ethernet};
use clarion_prog_tests::sandbox::{self, Peer, ip};
use clarion_prog_tests::wire::{Wire, if_index, mac};

use super::GROUP;
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
const ECHO_PORT: u16 = 7;
/// The bystander's pace: often enough for a percentile within one flood.
const BYSTANDER_PAUSE: Duration = Duration::from_micros(500);

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
        ensure!(dataplane.attachments()?.get(&ifindex) == Some(&AttachedMode::Native), "not native");
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
        broadcast_flood(&bed, &mut results)?;
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

/// What one flood came to.
#[derive(Debug, Default)]
struct Flood {
    /// Answers a second of flooding.
    rate: Vec<f64>,
    /// Percent of the requests that were answered.
    answered: Vec<f64>,
}

impl Flood {
    /// Sends and counts what comes back to the client's interface.
    fn run(&mut self, bed: &Bed, to: [u8; 6], address: Ipv4Addr) -> Result<()> {
        let (took, sent, answers) = bed.peer.run(move || -> Result<_> {
            // The socket receives nothing of what it asks for: counters do.
            let wire = Wire::open("client0", 0)?;
            let frame = request(to, mac("client0")?, address);
            let before = received("client0")?;
            let begin = Instant::now();
            let mut sent = 0;
            for _ in 0..FLOOD {
                sent += u64::from(wire.offer(&frame)?);
            }
            let answers = settled("client0", before + sent)? - before;
            Ok((begin.elapsed(), sent, answers))
        })??;
        // A few frames of others come in between; they must not make up for losses.
        self.answered.push(100.0 * (answers as f64 / sent as f64).min(1.0));
        self.rate.push(answers.min(sent) as f64 / took.as_secs_f64());
        Ok(())
    }
}

/// Frames that an interface has received.
fn received(interface: &str) -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev")?;
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':').map(str::to_owned))
        .with_context(|| format!("no interface {interface}"))?;
    Ok(line.split_whitespace().nth(1).context("no count of frames")?.parse()?)
}

/// The count once it is `wanted` or no longer grows.
fn settled(interface: &str, wanted: u64) -> Result<u64> {
    let mut last = (received(interface)?, Instant::now());
    loop {
        let now = received(interface)?;
        if now >= wanted || last.1.elapsed() > Duration::from_millis(100) {
            return Ok(now);
        }
        if now != last.0 {
            last = (now, Instant::now());
        }
        thread::yield_now();
    }
}

fn broadcast_flood(bed: &Bed, results: &mut Vec<Row>) -> Result<()> {
    let (mut ours, mut kernels) = (Flood::default(), Flood::default());
    let quiet = Bystander::start(bed)?.during(|| {
        // As long as a flood takes.
        thread::sleep(Duration::from_millis(500));
        Ok(())
    })?;
    let flooded = Bystander::start(bed)?.during(|| {
        for _ in 0..FLOODS {
            ours.run(bed, BROADCAST, VIP)?;
        }
        Ok(())
    })?;
    for _ in 0..FLOODS {
        kernels.run(bed, BROADCAST, KERNELS)?;
    }
    results.push(
        Row::new(GROUP, "broadcast ARP flood, answered", "%", &ours.answered)
            .versus("the kernel's own ARP", &kernels.answered)
            .bar(Bar::AtLeast(100.0)),
    );
    results.push(
        Row::new(GROUP, "broadcast ARP flood, answers", "1/s", &ours.rate)
            .versus("the kernel's own ARP", &kernels.rate),
    );
    results.push(
        Row::new(GROUP, "a bystander's UDP round trip during the flood", "µs", &flooded)
            .versus("without a flood", &quiet),
    );
    Ok(())
}

fn unicast_flood(bed: &Bed, results: &mut Vec<Row>) -> Result<()> {
    let to = mac("node0")?;
    let (mut ours, mut kernels) = (Flood::default(), Flood::default());
    for _ in 0..FLOODS {
        ours.run(bed, to, VIP)?;
        kernels.run(bed, to, KERNELS)?;
    }
    results.push(
        Row::new(GROUP, "unicast ARP flood, answered", "%", &ours.answered)
            .versus("the kernel's own ARP", &kernels.answered)
            .bar(Bar::AtLeast(100.0)),
    );
    results.push(
        Row::new(GROUP, "unicast ARP flood, answers", "1/s", &ours.rate)
            .versus("the kernel's own ARP", &kernels.rate)
            .bar(Bar::RatioAtLeast(1.0)),
    );
    Ok(())
}

/// A UDP echo through the flooded interface, in round trips of µs.
struct Bystander {
    stop: Arc<AtomicBool>,
    asking: thread::JoinHandle<Result<Vec<f64>>>,
    echoing: thread::JoinHandle<Result<()>>,
}

impl Bystander {
    fn start(bed: &Bed) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let server = UdpSocket::bind((KERNELS, ECHO_PORT))?;
        // A thread that is started in the peer lives in its namespace.
        let client = bed.peer.run(|| UdpSocket::bind((CLIENT, 0)))??;
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        }
        client.connect((KERNELS, ECHO_PORT))?;
        let echoing = thread::spawn({
            let stop = Arc::clone(&stop);
            move || echo(&server, &stop)
        });
        let asking = thread::spawn({
            let stop = Arc::clone(&stop);
            move || ask(&client, &stop)
        });
        Ok(Self { stop, asking, echoing })
    }

    fn during(self, work: impl FnOnce() -> Result<()>) -> Result<Vec<f64>> {
        let result = work();
        self.stop.store(true, Ordering::Relaxed);
        let samples = self.asking.join().ok().context("the bystander panicked")?;
        self.echoing.join().ok().context("the echo panicked")??;
        result?;
        samples
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
        thread::sleep(BYSTANDER_PAUSE);
    }
    Ok(samples)
}
