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
use clarion_lab::Lab;
use clarion_lab::prober::Prober;
use serde_json::json;

use crate::cluster::{self, DEADLINE, FOREIGN_CLASS, Watch, ms};
use crate::{Bar, Row, Rows};

/// Turns of each.
const RUNS: usize = 60;

/// Turns before, which fill caches and are not counted.
const WARM_UP: usize = 5;

/// How long one ARP request waits before the next is sent: longer than any
/// answer, short against what is measured.
const ASK: Duration = Duration::from_millis(2);

/// The address that the rival writes; nobody answers for it.
const FOREIGN_ADDRESS: &str = "192.0.2.1";

/// Measures.
///
/// # Errors
/// When something does not come in time.
pub fn run(lab: &Lab, rows: &mut Rows) -> Result<()> {
    let prober = look::prober(lab)?;
    let (mut address, mut answer, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..WARM_UP + RUNS {
        let rival = bare_client(lab, &format!("bare-{turn}"))?;
        let (to_address, to_answer) = ours(lab, &prober, &format!("ours-{turn}"))?;
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
    Ok(())
}

/// Times from the request to the address in a watch and to the first answer.
fn ours(lab: &Lab, prober: &Prober, name: &str) -> Result<(Duration, Duration)> {
    let (address, to_address, begin) = cluster::create(lab, name)?;
    let answered = first_answer(prober, address, begin)?;
    cluster::delete(lab, prober, name, address)?;
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

/// What the API server alone takes for the same writes.
fn bare_client(lab: &Lab, name: &str) -> Result<Duration> {
    let body = cluster::service(name, Some(FOREIGN_CLASS));
    let mut watch = Watch::open(lab, name)?;
    let begin = Instant::now();
    let mut created = lab.send("POST", &cluster::services(), &body)?;
    created["status"] = json!({ "loadBalancer": { "ingress": [{ "ip": FOREIGN_ADDRESS }] } });
    lab.send("PUT", &format!("{}/status", look::service_path(name)), &created)?;
    watch.address()?;
    let took = begin.elapsed();
    lab.send("DELETE", &look::service_path(name), &json!({}))?;
    Ok(took)
}
