//! Nanoseconds a frame, by `BPF_PROG_TEST_RUN`, over an empty program.
//!
//! The kernel reports whole nanoseconds, so the system call's CPU time is taken
//! instead and divided by its repetitions: it has fractions, and leaves out what
//! other processes do meanwhile. A frame that is answered is restored before each
//! repetition by a program that then tail-calls the shipped one; the same with an
//! empty program behind it is subtracted. The program for tc has a row for each kind of
//! frame.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aya::Ebpf;
use aya::maps::{Array, ProgramArray};
use aya::programs::{Program, SchedClassifier, TestRun, TestRunOptions, Xdp};
use clarion_dataplane::{AddressKey, Dataplane, Desired, Entry, Options, Plan};
use clarion_fence::{Kind, seal};
use clarion_prog_tests::fence::{INC, PORT, VOTER, datagram, keys, message, now, switch_on};
use clarion_prog_tests::frames::{
    ARP, Arp, BROADCAST, IPV6, Neighbor, Udp, ethernet, group_mac, tcp, unpadded,
};
use clarion_prog_tests::sandbox;
use nix::time::{ClockId, clock_gettime};

use super::GROUP;
use crate::row::Versus;
use crate::{Bar, Row, Rows};

/// Rounds, in each of which every frame has its turn, and repetitions in a turn.
const ROUNDS: usize = 41;
const REPEAT: u32 = 200_000;

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];
const ASKER: [u8; 6] = [2, 0, 0, 0, 0, 1];
const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const OTHER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
const HOST4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 10);
const OTHER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 99);
/// Owned under a lease.
const OWNED4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
const OWNED6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 11);
const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const VLAN: u16 = 100;
/// Addresses beside the measured ones: a map as a busy node has it.
const NEIGHBOURS: u16 = 1000;

/// One frame, run by a restoring program or as it is.
struct Subject {
    name: &'static str,
    frame: Vec<u8>,
    /// The program that restores it; frames that pass need none.
    restore: Option<&'static str>,
    /// What was promised of XDP.
    bar: f64,
    /// Whether tc has a row of it.
    at_tc: bool,
}

fn subjects() -> Vec<Subject> {
    let ask = |address| Arp::request((ASKER, HOST4), address).bytes();
    let solicit = |address| {
        let packet = Neighbor::solicitation((ASKER, HOST6), address);
        unpadded(group_mac(packet.destination), ASKER, &[], IPV6, &packet.bytes())
    };
    let passes = |name, frame| Subject { name, frame, restore: None, bar: 5.0, at_tc: false };
    let answered =
        |name, frame, restore, bar| Subject { name, frame, restore: Some(restore), bar, at_tc: false };
    let at_tc = |subject| Subject { at_tc: true, ..subject };
    vec![
        at_tc(passes("TCP over IPv4", tcp(false))),
        at_tc(passes("TCP over IPv6", tcp(true))),
        passes("UDP of a signal's length to another port", datagram_to(PORT + 1)),
        at_tc(passes("ARP for another host", ethernet(BROADCAST, ASKER, &[], ARP, &ask(OTHER4)))),
        at_tc(passes("NS for another host", solicit(OTHER6))),
        at_tc(answered("ARP answered", ethernet(BROADCAST, ASKER, &[], ARP, &ask(VIP4)), "bench_arp", 60.0)),
        answered(
            "ARP answered in a VLAN",
            ethernet(BROADCAST, ASKER, &[(0x8100, VLAN)], ARP, &ask(VIP4)),
            "bench_vlan_arp",
            60.0,
        ),
        at_tc(answered("NS answered", solicit(VIP6), "bench_ns", 120.0)),
        answered(
            "ARP answered under a lease",
            ethernet(BROADCAST, ASKER, &[], ARP, &ask(OWNED4)),
            "bench_arp",
            60.0,
        ),
        answered("NS answered under a lease", solicit(OWNED6), "bench_ns", 120.0),
        // The same one again and again: its tag and its answer's are what it costs.
        answered(
            "probe answered",
            datagram(&message(Kind::Probe, VOTER, 1, 0), false).frame(),
            "bench_signal",
            500.0,
        ),
    ]
}

fn datagram_to(port: u16) -> Vec<u8> {
    Udp { ports: [PORT, port], ..datagram(&message(Kind::Probe, VOTER, 1, 0), false) }.frame()
}

/// A program on its hook.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hook {
    Xdp,
    Tc,
}

/// All that is measured: each frame in XDP, some at tc.
fn turns() -> Vec<(Hook, Subject)> {
    let xdp = subjects().into_iter().map(|subject| (Hook::Xdp, subject));
    let tc = subjects().into_iter().filter(|subject| subject.at_tc).map(|subject| (Hook::Tc, subject));
    xdp.chain(tc).collect()
}

pub(super) fn run(rows: &mut Rows) -> Result<()> {
    let turns = turns();
    let measured = sandbox::enter(|bpffs| {
        let pin_dir = sandbox::pin_dir(bpffs);
        let dataplane = prepare(&pin_dir)?;
        let dir = pin_dir.join(format!("v{}", clarion_abi::ABI_VERSION));
        let xdp = Xdp::from_pin(dir.join("program"), aya_obj::programs::XdpAttachType::Interface)?;
        let shipped =
            [Program::Xdp(xdp), Program::SchedClassifier(SchedClassifier::from_pin(dir.join("program-tc"))?)];
        let mut bench = Bench::load()?;
        let before = dataplane.counters()?.outcomes;
        let samples = measure(&mut bench, &shipped, &dataplane, &turns)?;
        check_answers(&dataplane.counters()?.outcomes, &before)?;
        Ok(samples)
    })?;
    for ((hook, subject), (ours, empty)) in turns.iter().zip(&measured) {
        let over: Vec<f64> = ours.iter().zip(empty).map(|(ours, empty)| ours - empty).collect();
        let mut row = match hook {
            Hook::Xdp => Row::new(GROUP, &format!("{}, over an empty program", subject.name), "ns", &over)
                .bar(Bar::AtMost(subject.bar)),
            Hook::Tc => {
                Row::new(GROUP, &format!("{} at tc, over an empty program", subject.name), "ns", &over)
            }
        };
        let rival = Row::new(GROUP, "", "ns", empty);
        // No ratio: the figure is what comes on top of the rival's.
        let rival_name =
            if subject.restore.is_some() { "restoring and an empty program" } else { "empty program" };
        row.versus = Some(Versus { name: rival_name.to_owned(), p50: rival.p50 });
        rows.push(row);
    }
    Ok(())
}

fn prepare(pin_dir: &Path) -> Result<Dataplane> {
    let mut dataplane = Dataplane::open(Options { pin_dir: pin_dir.to_owned(), ..Options::default() })?;
    let mut addresses = BTreeMap::new();
    let answer = Entry::Answer { mac: OURS, epoch: 1 };
    let mut add = |address, vlan| addresses.insert(AddressKey { ifindex: 1, vlan, address }, answer);
    add(VIP4.into(), 0);
    add(VIP4.into(), VLAN);
    add(VIP6.into(), 0);
    for number in 0..NEIGHBOURS {
        let [high, low] = number.to_be_bytes();
        add(Ipv4Addr::new(198, 18, high, low).into(), 0);
        add(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, number + 1).into(), 0);
    }
    let owned = Entry::Owned { mac: OURS, station: OURS, epoch: 1, inc: INC };
    for address in [OWNED4.into(), OWNED6.into()] {
        addresses.insert(AddressKey { ifindex: 1, vlan: 0, address }, owned);
    }
    let plan = Plan::new(&dataplane.observe()?, &Desired { addresses, ..Desired::default() });
    let report = dataplane.apply(&plan);
    ensure!(report.is_ok(), "the plan failed: {report:?}");
    switch_on(&mut dataplane, now())?;
    Ok(dataplane)
}

/// The restoring programs and the empty one.
struct Bench {
    ebpf: Ebpf,
}

impl Bench {
    fn load() -> Result<Self> {
        let dir = std::env::var_os("CLARION_BPF")
            .context("CLARION_BPF is not set to the directory of BPF objects: use `cargo xtask bench`")?;
        let path = PathBuf::from(dir).join("bench.o");
        let mut ebpf = Ebpf::load_file(&path).with_context(|| format!("cannot load {}", path.display()))?;
        for (name, program) in ebpf.programs_mut() {
            match program {
                Program::Xdp(program) => program.load()?,
                Program::SchedClassifier(program) => program.load()?,
                _ => bail!("{name} is of another kind"),
            }
        }
        Ok(Self { ebpf })
    }

    /// The program of this name for a hook.
    fn program(&self, hook: Hook, name: &str) -> Result<&Program> {
        let name = match hook {
            Hook::Xdp => name.to_owned(),
            Hook::Tc => format!("{name}_tc"),
        };
        self.ebpf.program(&name).with_context(|| format!("no program {name}"))
    }

    /// Sets the frame that is restored.
    fn set_frame(&mut self, frame: &[u8]) -> Result<()> {
        let mut map: Array<_, [u8; 128]> =
            Array::try_from(self.ebpf.map_mut("BENCH_FRAME").context("no frame")?)?;
        let mut bytes = [0; 128];
        let length = frame.len().min(bytes.len());
        bytes[..length].copy_from_slice(&frame[..length]);
        Ok(map.set(0, bytes, 0)?)
    }

    /// Sets the program that runs after the restoring one; `None`: the empty one.
    fn set_next(&mut self, hook: Hook, shipped: Option<&Program>) -> Result<()> {
        let fd = match shipped {
            Some(shipped) => shipped.fd()?.try_clone()?,
            None => self.program(hook, "bench_empty")?.fd()?.try_clone()?,
        };
        let name = match hook {
            Hook::Xdp => "BENCH_NEXT",
            Hook::Tc => "BENCH_NEXT_TC",
        };
        let mut map = ProgramArray::try_from(self.ebpf.map_mut(name).context("no next program")?)?;
        Ok(map.set(0, &fd, 0)?)
    }
}

type Samples = (Vec<f64>, Vec<f64>);

/// For each turn the nanoseconds of the shipped program, and of the empty one.
fn measure(
    bench: &mut Bench,
    shipped: &[Program; 2],
    dataplane: &Dataplane,
    turns: &[(Hook, Subject)],
) -> Result<Vec<Samples>> {
    let mut samples: Vec<Samples> = turns.iter().map(|_| Samples::default()).collect();
    let [xdp, tc] = shipped;
    for round in 0..=ROUNDS {
        // Grace and lease are far longer than a round.
        dataplane.beat()?;
        let stamp = now();
        let lease = message(Kind::Answer, VOTER, stamp, stamp);
        dataplane.fence().relay(&seal(&lease, &keys().current))?;
        for ((hook, subject), (ours, empty)) in turns.iter().zip(&mut samples) {
            let shipped = if *hook == Hook::Xdp { xdp } else { tc };
            let (with, without) = match subject.restore {
                None => {
                    let empty = bench.program(*hook, "bench_empty")?;
                    (timed(shipped, &subject.frame)?, timed(empty, &subject.frame)?)
                }
                Some(name) => {
                    bench.set_frame(&subject.frame)?;
                    bench.set_next(*hook, Some(shipped))?;
                    let with = timed(bench.program(*hook, name)?, &subject.frame)?;
                    bench.set_next(*hook, None)?;
                    (with, timed(bench.program(*hook, name)?, &subject.frame)?)
                }
            };
            // The first round warms caches.
            if round > 0 {
                ours.push(with);
                empty.push(without);
            }
        }
    }
    Ok(samples)
}

/// Nanoseconds of one run, over [`REPEAT`] of them.
fn timed(program: &Program, frame: &[u8]) -> Result<f64> {
    let options = TestRunOptions { data_in: Some(frame), repeat: REPEAT, ..TestRunOptions::default() };
    let begin = cpu_time()?;
    match program {
        Program::Xdp(program) => program.test_run(options).map(drop)?,
        Program::SchedClassifier(program) => program.test_run(options).map(drop)?,
        _ => bail!("a program of another kind"),
    }
    Ok((cpu_time()? - begin).as_secs_f64() * 1e9 / f64::from(REPEAT))
}

fn cpu_time() -> Result<Duration> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?))
}

/// Every repetition must have been what its row says, or the row would lie.
fn check_answers(after: &BTreeMap<&'static str, u64>, before: &BTreeMap<&'static str, u64>) -> Result<()> {
    let runs = u64::from(REPEAT) * (ROUNDS as u64 + 1);
    for (name, wanted) in [
        ("arp_answered", 4 * runs),
        ("ndp_answered", 3 * runs),
        ("arp_other", 2 * runs),
        ("ndp_other", 2 * runs),
        ("signal_replay_answered", runs),
    ] {
        let counted = after[name] - before[name];
        ensure!(counted == wanted, "{name} was counted {counted} times, not {wanted}");
    }
    Ok(())
}
