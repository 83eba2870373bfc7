//! Group `addresses`: from creating a Service to its address, and to the first
//! answer on the LAN.
//!
//! The rival is a client that knows the answer beforehand: it creates a Service of
//! a class that nobody serves, writes the status itself, and waits for a watch to
//! show it. Nothing that follows the API can be faster than that; the ratio says
//! what deciding costs. Both take turns in the same run.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clarion_e2e::look;
use clarion_lab::prober::Prober;

use crate::cluster::{Cluster, DEADLINE, ms};
use crate::{Bar, Row, Rows, addresses_alloc, addresses_placement};

/// Turns of each.
const RUNS: usize = 60;

/// Turns before, which fill caches and are not counted.
const WARM_UP: usize = 5;

/// How long one ARP request waits before the next is sent: longer than any
/// answer, short against what is measured.
const ASK: Duration = Duration::from_millis(2);

/// Measures.
///
/// # Errors
/// When something does not come in time.
pub fn run(cluster: &Cluster, rows: &mut Rows) -> Result<()> {
    addresses_alloc::run(rows)?;
    let prober = look::prober(&cluster.lab)?;
    let (mut address, mut answer, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..WARM_UP + RUNS {
        let rival = cluster.bare_client(&format!("bare-{turn}"))?;
        let (to_address, to_answer) = ours(cluster, &prober, &format!("ours-{turn}"))?;
        if turn >= WARM_UP {
            bare.push(ms(rival));
            address.push(ms(to_address));
            answer.push(ms(to_answer));
        }
    }
    let versus = "bare client's POST, status PUT and watch";
    let row = |name, samples: &[f64], bar| {
        Row::new("addresses", name, "ms", samples).versus(versus, &bare).bar(bar)
    };
    rows.push(row("create Service to address", &address, Bar::RatioAtMost(1.25)));
    rows.push(row("create Service to first ARP answer", &answer, Bar::RatioAtMost(1.5)));
    addresses_placement::run(rows)
}

/// Times from the request to the address in a watch and to the first answer.
fn ours(cluster: &Cluster, prober: &Prober, name: &str) -> Result<(Duration, Duration)> {
    let (address, to_address, begin) = cluster.create(name)?;
    let answered = first_answer(prober, address, begin)?;
    cluster.delete(prober, name, address)?;
    Ok((to_address, answered))
}

/// Asks until somebody answers.
///
/// # Errors
/// When nobody does in time.
pub fn first_answer(prober: &Prober, address: IpAddr, begin: Instant) -> Result<Duration> {
    while begin.elapsed() < DEADLINE {
        if let Some(answer) = prober.ask(address, ASK)? {
            return Ok(answer.at.duration_since(begin));
        }
    }
    bail!("nobody answered for {address} within {} s", DEADLINE.as_secs())
}
