//! From the end of a leader to the first address that another one gives, and from the
//! start of a controller to the first address it gives.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clarion_e2e::controllers::{Leader, all_ready, freeze, holder, leader, processes};
use clarion_lab::process::ProcessId;
use nix::sys::signal::Signal;

use super::crowd::one_more;
use crate::cluster::{Cluster, ms};
use crate::{Bar, Row, Rows};

/// Turns of each.
const RUNS: usize = 5;
/// Longest wait for another leader.
const DEADLINE: Duration = Duration::from_secs(30);

/// Measures with `present` Services there.
///
/// # Errors
/// When nobody takes over or no address comes.
pub fn run(cluster: &Cluster, present: usize, rows: &mut Rows) -> Result<()> {
    let (mut crash, mut stop) = (Vec::new(), Vec::new());
    for turn in 0..RUNS {
        let freeze = |old: &Leader| freeze(&cluster.lab, old.process);
        crash.push(ms(after(cluster, freeze, &format!("crash-{turn}"))?));
    }
    for turn in 0..RUNS {
        let terminate = |old: &Leader| -> Result<()> {
            old.process.signal(Signal::SIGTERM);
            Ok(())
        };
        stop.push(ms(after(cluster, terminate, &format!("stop-{turn}"))?));
    }
    let slowest = crash.iter().copied().fold(0.0, f64::max);
    let row = |what: &str, samples: &[f64], bar| {
        Row::new("addresses", &format!("{what}, {present} Services"), "ms", samples).bar(Bar::AtMost(bar))
    };
    rows.push(row("leader falls silent, to another's first address", &crash, 5_000.0));
    rows.push(row("the same, slowest", &[slowest], 5_000.0));
    rows.push(row("leader stopped, to another's first address", &stop, 200.0));
    let restarts = (0..RUNS).map(|turn| restart(cluster, &format!("restart-{turn}")));
    let restarts = restarts.collect::<Result<Vec<f64>>>()?;
    rows.push(row("start of a controller to its first address", &restarts, 2_000.0));
    Ok(())
}

/// The time from what is done to the leader until another one leads and has given an address
/// to a Service that was created then: one created before could be the old one's last. A
/// leader that is frozen keeps its connections and never answers: what a dead machine looks
/// like from outside.
fn after(cluster: &Cluster, end: impl Fn(&Leader) -> Result<()>, name: &str) -> Result<Duration> {
    let lab = &cluster.lab;
    all_ready(lab)?;
    let old = leader(lab)?;
    let begin = Instant::now();
    end(&old)?;
    let taken = lab.wait_until("another leader", DEADLINE, || {
        Ok(Some(holder(lab)?).filter(|now| !now.is_empty() && *now != old.pod))
    });
    let addressed = taken.and_then(|_| one_more(cluster, name, None));
    let took = begin.elapsed();
    old.process.resume();
    addressed.map(|_| took)
}

/// Kills all controllers. The milliseconds from the start of the first process after that
/// until a Service has an address that was created meanwhile.
fn restart(cluster: &Cluster, name: &str) -> Result<f64> {
    let lab = &cluster.lab;
    all_ready(lab)?;
    let old = processes(lab);
    old.iter().for_each(|process| process.kill());
    let (started, addressed) = std::thread::scope(|scope| {
        let addressed = scope.spawn(|| one_more(cluster, name, None).map(|_| Instant::now()));
        let started = lab.wait_until("a new controller", DEADLINE, || {
            let new: Vec<ProcessId> = processes(lab).into_iter().filter(|p| !old.contains(p)).collect();
            Ok((!new.is_empty()).then(Instant::now))
        });
        (started, addressed.join())
    });
    let addressed = addressed.ok().context("the thread that creates a Service failed")??;
    Ok(ms(addressed.saturating_duration_since(started?)))
}
