//! Group `layer2`: how long an address is unanswered when its node loses power, and
//! whether anything is when its agent is replaced.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clarion_e2e::agents::restart;
use clarion_e2e::look;
use clarion_e2e::verdict::Verdict;
use clarion_lab::wait::poll;
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, DEADLINE, ms};
use crate::row::Bar;
use crate::{Row, Rows};

/// Power-offs. Each node boots again in between.
const RUNS: usize = 20;
/// Agents that are ended.
const RESTARTS: usize = 5;

/// One ARP request each.
const INTERVAL: Duration = Duration::from_millis(5);
/// Questions after an agent's restart: a wrong first plan of the new one would show.
const AFTERWARDS: usize = 200;

/// Measures.
///
/// # Errors
/// When nobody takes over or the node does not come back.
pub fn run(cluster: &mut Cluster, rows: &mut Rows) -> Result<()> {
    let (mut samples, mut overlaps) = (Vec::new(), Vec::new());
    for turn in 0..RUNS {
        let name = format!("failover-{turn}");
        let (address, _, _) = cluster.create(&name)?;
        let prober = look::prober(&cluster.lab)?;
        let answer = look::answered(&cluster.lab, &prober, address)?;
        let owner = look::owner(&cluster.lab, &answer)?;
        let watch = look::prober(&cluster.lab)?.watch(address, INTERVAL);
        let off = cluster.lab.power_off(&owner)?;
        let next = loop {
            if let Some(next) = watch.first_other(off, answer.mac) {
                break next;
            }
            if off.elapsed() > DEADLINE {
                bail!("nobody took {address} over from {owner} within {} s", DEADLINE.as_secs());
            }
            std::thread::park_timeout(INTERVAL);
        };
        samples.push(ms(next.at.saturating_duration_since(off)));
        overlaps.push(ms(Verdict::of(&watch.stop()?, off).overlap));
        cluster.lab.power_on(&owner)?;
        cluster.lab.wait_nodes_ready(DEADLINE)?;
        cluster.lab.wait_clarion_ready(DEADLINE).with_context(|| format!("{owner} after its boot"))?;
        look::wait_deployment(&cluster.lab, "web", 3)?;
        cluster.delete(&prober, &name, address)?;
    }
    let slowest = samples.iter().copied().fold(0.0, f64::max);
    let row = |name: &str, samples: &[f64]| Row::new("layer2", name, "ms", samples);
    rows.push(row("power-off of the owner to the next owner's answer", &samples).bar(Bar::AtMost(150.0)));
    rows.push(row("the same, the slowest", &[slowest]).bar(Bar::AtMost(250.0)));
    rows.push(row("two nodes answered meanwhile", &overlaps).bar(Bar::AtMost(0.0)));
    restarts(cluster, rows)
}

/// Agents end and are started again by their kubelet.
fn restarts(cluster: &Cluster, rows: &mut Rows) -> Result<()> {
    let (address, _, _) = cluster.create("restarts")?;
    let lab = &cluster.lab;
    let prober = look::prober(lab)?;
    let owner = look::owner(lab, &look::answered(lab, &prober, address)?)?;
    let mut unanswered = Vec::new();
    for _ in 0..RESTARTS {
        let watch = look::prober(lab)?.watch(address, INTERVAL);
        let begin = Instant::now();
        restart(lab, &owner, Signal::SIGTERM, DEADLINE)?;
        let enough = watch.asked_since(begin) + AFTERWARDS;
        poll(DEADLINE, || Ok((watch.asked_since(begin) >= enough).then_some(())))?
            .context("the prober stopped")?;
        let verdict = Verdict::of(&watch.stop()?, begin);
        unanswered.push(f64::from(u32::try_from(verdict.unanswered + verdict.changes)?));
    }
    let name = "an agent restarts: questions unanswered, or answered by another node";
    rows.push(Row::new("layer2", name, "of 5 ms each", &unanswered).bar(Bar::AtMost(0.0)));
    cluster.delete(&prober, "restarts", address)
}
