//! TCP through an interface with and without the program, in each attach mode.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clarion_dataplane::{AttachMode, Dataplane, Desired, Options, Plan, pass};
use clarion_prog_tests::sandbox::{self, Peer, ip};
use clarion_prog_tests::wire::if_index;

use super::GROUP;
use crate::{Row, Rows};

/// Measurements of each mode, taking turns, and the length of one.
const ROUNDS: usize = 5;
const LENGTH: Duration = Duration::from_millis(700);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const PORT: u16 = 5001;
const CHUNK: usize = 128 * 1024;

/// What is on the interface while bytes flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attached {
    Nothing,
    /// A native program that passes everything: what native XDP itself costs on a
    /// veth, which loses its segmentation offload to it.
    Empty,
    Clarion(AttachMode),
}

const TURNS: [Attached; 5] = [
    Attached::Nothing,
    Attached::Empty,
    Attached::Clarion(AttachMode::Native),
    Attached::Clarion(AttachMode::Generic),
    Attached::Clarion(AttachMode::Tcx),
];

pub(super) fn run(rows: &mut Rows) -> Result<()> {
    let [nothing, empty, native, generic, tcx] = sandbox::enter(|bpffs| measure(&sandbox::pin_dir(bpffs)))?;
    let row = |name: &str, samples: &[f64], rival: &str, rivals: &[f64]| {
        Row::new(GROUP, &format!("TCP throughput with the program, {name}"), "Gbit/s", samples)
            .versus(rival, rivals)
    };
    rows.push(row("native", &native, "without any", &nothing));
    rows.push(row("native, against an empty one", &native, "empty native program", &empty));
    rows.push(row("generic", &generic, "without any", &nothing));
    rows.push(row("tcx", &tcx, "without any", &nothing));
    Ok(())
}

fn measure(pin_dir: &Path) -> Result<[Vec<f64>; 5]> {
    let peer = Peer::new()?;
    peer.veth("node0", "client0")?;
    ip(&format!("addr add {SERVER}/24 dev node0"))?;
    // What the far end needs for native answers is there in all cases.
    let _pass = peer.run(|| -> Result<_> {
        ip(&format!("addr add {CLIENT}/24 dev client0"))?;
        Ok(pass::attach(if_index("client0")?)?)
    })??;
    let mut samples: [Vec<f64>; 5] = Default::default();
    for _ in 0..ROUNDS {
        for (attached, samples) in TURNS.into_iter().zip(&mut samples) {
            samples.push(with(attached, pin_dir, &peer)?);
        }
    }
    Ok(samples)
}

/// Measures once with something attached, and leaves nothing attached.
fn with(attached: Attached, pin_dir: &Path, peer: &Peer) -> Result<f64> {
    let ifindex = if_index("node0")?;
    match attached {
        Attached::Nothing => transfer(peer),
        Attached::Empty => {
            let _empty = pass::attach(ifindex)?;
            transfer(peer)
        }
        Attached::Clarion(mode) => {
            let options = Options { pin_dir: pin_dir.to_owned(), mode, ..Options::default() };
            let mut dataplane = Dataplane::open(options)?;
            let desired = Desired { interfaces: BTreeSet::from([ifindex]), addresses: BTreeMap::new() };
            let plan = Plan::new(&dataplane.observe()?, &desired);
            let report = dataplane.apply(&plan);
            ensure!(report.is_ok(), "the plan failed: {report:?}");
            let result = transfer(peer);
            // The maps stay for the next turn: freeing them would disturb it.
            let plan = Plan::new(&dataplane.observe()?, &Desired::default());
            let report = dataplane.apply(&plan);
            ensure!(report.is_ok(), "the plan failed: {report:?}");
            result
        }
    }
}

/// Gbit/s from the client to the node.
fn transfer(peer: &Peer) -> Result<f64> {
    let listener = TcpListener::bind((SERVER, PORT))?;
    let receiver = thread::spawn(move || -> Result<f64> {
        let (mut stream, _) = listener.accept()?;
        let mut buffer = vec![0; CHUNK];
        let mut bytes = 0_usize;
        let begin = Instant::now();
        loop {
            let length = stream.read(&mut buffer)?;
            if length == 0 {
                return Ok(bytes as f64 * 8.0 / begin.elapsed().as_secs_f64() / 1e9);
            }
            bytes += length;
        }
    });
    peer.run(|| -> Result<()> {
        let mut stream = TcpStream::connect((SERVER, PORT))?;
        let chunk = vec![0x5a; CHUNK];
        let begin = Instant::now();
        while begin.elapsed() < LENGTH {
            stream.write_all(&chunk)?;
        }
        Ok(())
    })??;
    receiver.join().ok().context("the receiver panicked")?
}
