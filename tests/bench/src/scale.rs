//! Group `addresses`, second part: a thousand Services at once, and ten thousand.
//!
//! In a lab of its own: layer 2 only, one pod behind all Services, kube-proxy kept from
//! seeing them. Services are created a thousand at a time, in two halves with two of the
//! rival's between, which makes the same writes itself: so noise of the machine falls on
//! both, and so does what the API server takes longer for the more Services there are (it
//! counts all cluster IPs at each creation). The rival's are taken away after each half. The
//! time of each thousand shows whether it grows.

pub mod crowd;
pub mod handover;
pub mod meters;

use std::time::Duration;

use anyhow::Result;
use clarion_e2e::controllers;
use clarion_lab::{Lab, Spec};

use self::crowd::{NAMESPACE, Took, WORKERS, bare, clear, creations, one_more, ours};
use self::meters::{Reading, agents, largest};
use crate::cluster::{Cluster, ms};
use crate::{Bar, Row, Rows};

/// Services of a turn, created in two halves.
const CHUNK: usize = 1_000;
/// Services created to see what creating alone takes.
const ALONE: usize = 250;
/// Chunks of a run that is to be short, and of a full one.
const CHUNKS: (usize, usize) = (1, 10);
/// Turns of a single Service.
const RUNS: usize = 20;
/// What MetalLB 0.16.1 took for the first thousand on two cores.
const METALLB_SECONDS: [f64; 2] = [97.0, 101.0];

/// A pool for a hundred thousand, and layer 2 for it. The pod has no probe: a machine
/// that is kept busy on purpose would fail it, and ten thousand EndpointSlices with it.
fn ground(lab: &Lab) -> Result<()> {
    lab.apply(&format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n---\n\
         apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\n\
         metadata: {{name: crowd, namespace: metallb-system}}\nspec: {{addresses: [172.28.0.0/15]}}\n---\n\
         apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\n\
         metadata: {{name: crowd, namespace: metallb-system}}\nspec: {{}}\n---\n\
         apiVersion: v1\nkind: Pod\n\
         metadata: {{name: crowd, namespace: {NAMESPACE}, labels: {{app: crowd}}}}\n\
         spec:\n  containers:\n  - name: http\n    image: lab/http\n    ports: [{{containerPort: 8080}}]\n"
    ))?;
    lab.wait_until("the pod behind the crowd", Duration::from_secs(30), || {
        let pod = lab.get(&format!("/api/v1/namespaces/{NAMESPACE}/pods/crowd"))?;
        Ok(pod.filter(|pod| pod["status"]["phase"] == "Running").map(drop))
    })
}

/// Measures: ten thousand Services if `full`, else one thousand.
///
/// # Errors
/// When something does not come in time.
pub fn run(full: bool, rows: &mut Rows) -> Result<()> {
    let cluster = Cluster::start_with(Spec { routers: 0, ..Spec::cluster() }, ground)?;
    let chunks = if full { CHUNKS.1 } else { CHUNKS.0 };
    let empty = singles(&cluster, "first", false)?;
    memory(&cluster, 0, rows)?;
    let alone = creations(&cluster, "alone", ALONE)?;
    let each = ms(alone) / ALONE as f64;
    clear(&cluster)?;
    rows.push(Row::new(
        "addresses",
        "a creation alone, by as many workers, nothing written after it",
        "ms",
        &[each],
    ));
    let mut sums = Sums::new();
    for chunk in 0..chunks {
        sums.chunk(&cluster, chunk)?;
        let present = (chunk + 1) * CHUNK;
        if chunk == 0 {
            sums.first(rows);
        }
        if chunk == 0 || present == 5_000 || chunk + 1 == chunks {
            memory(&cluster, present, rows)?;
        }
    }
    let present = chunks * CHUNK;
    sums.all(present, rows);
    let (more, after) = (singles(&cluster, "more", false)?, singles(&cluster, "after", true)?);
    for (what, samples) in [("one more Service", more), ("one more, another just deleted", after)] {
        let name = format!("{what}, {present} present: to its address");
        let row = Row::new("addresses", &name, "ms", &samples).versus("with none present", &empty);
        rows.push(row.bar(Bar::RatioAtMost(1.5)));
    }
    handover::run(&cluster, present, rows)
}

/// The times of single Services, after some that fill caches.
fn singles(cluster: &Cluster, prefix: &str, after_deletion: bool) -> Result<Vec<f64>> {
    let mut samples = Vec::new();
    for turn in 0..RUNS + 5 {
        let victim = (after_deletion && turn > 0).then(|| format!("{prefix}-{}", turn - 1));
        let took = one_more(cluster, &format!("{prefix}-{turn}"), victim.as_deref())?;
        if turn >= 5 {
            samples.push(ms(took));
        }
    }
    Ok(samples)
}

fn memory(cluster: &Cluster, present: usize, rows: &mut Rows) -> Result<()> {
    let controllers = largest(&controllers::processes(&cluster.lab), "VmRSS")?;
    let agents = largest(&agents(&cluster.lab), "VmRSS")?;
    let row = |who: &str, mb: f64| {
        Row::new("addresses", &format!("resident memory of {who}, {present} Services"), "MB", &[mb])
    };
    rows.push(row("a controller", controllers).bar(Bar::AtMost(80.0)));
    rows.push(row("an agent", agents));
    Ok(())
}

/// What all chunks took together.
struct Sums {
    ours: Vec<Took>,
    bare: Vec<f64>,
    used: Reading,
    bare_used: Reading,
}

impl Sums {
    fn new() -> Self {
        Self { ours: Vec::new(), bare: Vec::new(), used: Reading::zero(), bare_used: Reading::zero() }
    }

    fn chunk(&mut self, cluster: &Cluster, chunk: usize) -> Result<()> {
        let lab = &cluster.lab;
        let (mut took, mut bare_took) = (Took::default(), Duration::ZERO);
        for (half, mine) in [(0, true), (1, false), (2, false), (3, true)] {
            let before = Reading::take(lab)?;
            let used = if mine {
                let more = ours(cluster, &format!("ours-{chunk}-{half}"), CHUNK / 2)?;
                took.addresses += more.addresses;
                took.everything += more.everything;
                &mut self.used
            } else {
                bare_took += bare(cluster, &format!("bare-{chunk}-{half}"), CHUNK / 2)?;
                &mut self.bare_used
            };
            used.add(&Reading::take(lab)?.since(&before));
            if !mine {
                clear(cluster)?;
            }
        }
        self.bare.push(bare_took.as_secs_f64());
        self.ours.push(took);
        eprintln!(
            "  chunk {chunk}: addresses {:.1} s, everything {:.1} s, bare {:.1} s",
            took.addresses.as_secs_f64(),
            took.everything.as_secs_f64(),
            self.bare[chunk]
        );
        Ok(())
    }

    /// The first thousand.
    fn first(&self, rows: &mut Rows) {
        let name = format!("{CHUNK} Services by {WORKERS} workers, to the last address");
        let row = Row::new("addresses", &name, "s", &[self.ours[0].addresses.as_secs_f64()]);
        rows.push(row.versus("MetalLB 0.16.1, measured elsewhere", &METALLB_SECONDS).bar(Bar::AtMost(12.0)));
    }

    /// All of them.
    fn all(&self, present: usize, rows: &mut Rows) {
        let versus = "a bare client's same writes";
        let count = present as f64;
        let sum = |all: &[f64]| all.iter().sum::<f64>();
        let addresses: Vec<f64> = self.ours.iter().map(|t| t.addresses.as_secs_f64()).collect();
        let everything: Vec<f64> = self.ours.iter().map(|t| t.everything.as_secs_f64()).collect();
        let row = |name: &str, unit: &str, samples: &[f64], rival: &[f64]| {
            Row::new("addresses", &format!("{present} Services: {name}"), unit, samples).versus(versus, rival)
        };
        let bare = [sum(&self.bare)];
        rows.push(row("to the last address", "s", &[sum(&addresses)], &bare).bar(Bar::RatioAtMost(1.3)));
        rows.push(row("to the last write", "s", &[sum(&everything)], &bare).bar(Bar::RatioAtMost(1.3)));
        rows.push(row("a thousand, to the last write", "s", &everything, &self.bare));
        let each = |seconds: f64| [seconds * 1e3 / count];
        let (used, rival) = (&self.used, &self.bare_used);
        rows.push(row("API server's CPU each", "ms", &each(used.api_server), &each(rival.api_server)));
        rows.push(row("controllers' CPU each", "ms", &each(used.controllers), &each(rival.controllers)));
        rows.push(row("agents' CPU each, all three", "ms", &each(used.agents), &each(rival.agents)));
        let writes = sum(&used.writes.values().copied().collect::<Vec<_>>()) / count;
        let name = format!("{present} Services: writes each, whole system");
        rows.push(Row::new("addresses", &name, "1", &[writes]).bar(Bar::AtMost(6.0)));
        for (what, n) in &used.writes {
            rows.note(format!("{:.3} {what} for each Service", n / count));
        }
    }
}
