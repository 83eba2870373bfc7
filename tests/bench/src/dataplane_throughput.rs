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

pub(super) fn run(rows: &mut Rows) -> Result<()> {
    for (mode, name) in [(AttachMode::Native, "native"), (AttachMode::Generic, "generic")] {
        let (with, without) = sandbox::enter(|bpffs| measure(&sandbox::pin_dir(bpffs), mode))?;
        rows.push(
            Row::new(GROUP, &format!("TCP throughput with the program, {name}"), "Gbit/s", &with)
                .versus("without it", &without),
        );
    }
    Ok(())
}

fn measure(pin_dir: &Path, mode: AttachMode) -> Result<(Vec<f64>, Vec<f64>)> {
    let peer = Peer::new()?;
    peer.veth("node0", "client0")?;
    ip(&format!("addr add {SERVER}/24 dev node0"))?;
    // What the far end needs for native answers is there in both cases.
    let _pass = peer.run(|| -> Result<_> {
        ip(&format!("addr add {CLIENT}/24 dev client0"))?;
        Ok(pass::attach(if_index("client0")?)?)
    })??;
    let mut dataplane = Dataplane::open(Options { pin_dir: pin_dir.to_owned(), mode, ..Options::default() })?;
    let attached = Desired { interfaces: BTreeSet::from([if_index("node0")?]), addresses: BTreeMap::new() };
    let mut samples = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (desired, samples) in [(&attached, &mut samples.0), (&Desired::default(), &mut samples.1)] {
            let plan = Plan::new(&dataplane.observe()?, desired);
            let report = dataplane.apply(&plan);
            ensure!(report.is_ok(), "the plan failed: {report:?}");
            samples.push(transfer(&peer)?);
        }
    }
    Ok(samples)
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
