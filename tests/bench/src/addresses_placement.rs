//! Planning of layer 2 owners: the pure part, without API server. There is no rival: MetalLB
//! plans nothing, each of its speakers hashes every Service anew.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clarion_core::NodeName;
use clarion_placement::{Candidates, Group, NodeFacts, Now, Placement, Settings};

use crate::cluster::ms;
use crate::{Bar, Row, Rows};

const ADDRESSES: u32 = 10_000;
const NODES: usize = 100;
const RUNS: usize = 50;

fn group(number: u32, candidates: &Arc<Candidates>) -> Group {
    let address = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number));
    Group { addresses: vec![address], candidates: Arc::clone(candidates) }
}

fn cluster(nodes: usize) -> (BTreeMap<NodeName, NodeFacts>, Arc<Candidates>) {
    let names = (0..nodes).map(|n| NodeName::new(format!("worker-{n:03}.example")));
    let facts = names.map(|name| (name, NodeFacts { zone: None, ready: true }));
    let facts: BTreeMap<_, _> = facts.collect();
    let scores = facts.keys().map(|name| (name.clone(), 0)).collect();
    (facts, Arc::new(Candidates { scores, refused: BTreeMap::new() }))
}

/// Measures.
///
/// # Errors
/// A plan that is not what it should be: its time would say nothing.
pub(crate) fn run(rows: &mut Rows) -> Result<()> {
    let (all, candidates) = cluster(NODES);
    let (fewer, without_one) = cluster(NODES - 1);
    let (mut scratch, mut one, mut leaves) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let groups = |candidates| (0..ADDRESSES).map(|n| group(n, candidates)).collect::<Vec<_>>();
        let (now, before, after) =
            (Now { monotonic: Duration::ZERO, unix_ms: 1 }, groups(&candidates), groups(&without_one));
        let begin = Instant::now();
        let mut placement = Placement::new(Settings::default(), &all, []);
        placement.replace([], before);
        ensure!(placement.plan(now).changed.len() == ADDRESSES as usize, "not every address has a list");
        scratch.push(ms(begin.elapsed()));

        let begin = Instant::now();
        placement.replace([], vec![group(ADDRESSES, &candidates)]);
        ensure!(placement.plan(now).changed.len() == 1, "one address, one list");
        one.push(ms(begin.elapsed()) * 1000.0);

        let begin = Instant::now();
        placement.set_nodes(&fewer);
        placement.replace([], after);
        let planned = placement.plan(now);
        leaves.push(ms(begin.elapsed()));
        ensure!(planned.displaced >= ADDRESSES as usize / NODES, "its addresses move: {planned:?}");
        black_box(&placement);
    }
    let row = |name, unit, samples: &[f64], bar| Row::new("addresses", name, unit, samples).bar(bar);
    rows.push(row(
        "owner plan, 10,000 addresses × 100 nodes, from scratch",
        "ms",
        &scratch,
        Bar::AtMost(50.0),
    ));
    rows.push(row("owner plan, one of 100 nodes leaves", "ms", &leaves, Bar::AtMost(50.0)));
    rows.push(row("owner plan, one more address with 10,000", "µs", &one, Bar::AtMost(100.0)));
    Ok(())
}
