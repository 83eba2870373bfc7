//! Ownership under faults: a client asks for an address every five milliseconds while power, wires,
//! agents and the API server fail, and what it saw is judged: how long the address was dark, and
//! whether two nodes answered.
//!
//! Deadlines here are those of a test on a busy machine; figures are the benchmark's (`layer2`).

use anyhow::{Context, Result, ensure};
use clarion_e2e::agents::restart;
use clarion_e2e::harness::Case;
use clarion_e2e::look::{Held, SOON, answered, owner, prober};
use clarion_e2e::objects::Service;
use clarion_e2e::verdict::Verdict;
use clarion_lab::prober::Watch;
use clarion_lab::wait::poll;
use clarion_lab::{Cut, Lab, NAMESPACE};
use nix::sys::signal::Signal;
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub(crate) const CASES: &[Case] = &[
    ("power off: another node answers, and it is one", power),
    (
        "a silent cut: the node is fenced by its own kernel, and one node answers when it is mended",
        silent_cut,
    ),
    ("an agent that is paused, killed or ended costs no answer and moves nothing", agents),
    ("an agent that ends on a cordoned node hands its addresses over without a gap", cordoned),
    ("agents are replaced one by one without a gap, and nothing moves", rolled),
    ("without an API server the next node answers all the same", without_api),
    ("the last of three nodes answers, and one answers when the others are back", last_standing),
];

const INTERVAL: Duration = Duration::from_millis(5);
/// Until another node answers; the bar is a quarter of a second on machines that do nothing else.
const TAKEOVER: Duration = Duration::from_secs(2);
/// What must not happen has this long to happen.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// An agent that is started again is ready within this.
const READY: Duration = Duration::from_secs(30);

/// An address with an owner, watched.
struct Watched {
    address: IpAddr,
    node: String,
    mac: [u8; 6],
    watch: Watch,
    begin: Instant,
}

impl Watched {
    fn new(lab: &Lab, address: IpAddr) -> Result<Self> {
        let node = owner(lab, &answered(lab, &prober(lab)?, address)?)?;
        let mac = lab.node(&node)?.station().mac;
        let watch = prober(lab)?.watch(address, INTERVAL);
        let watched = Self { address, node, mac, watch, begin: Instant::now() };
        watched.asked(20)?;
        Ok(watched)
    }

    /// Waits until so many more questions were asked.
    fn asked(&self, more: usize) -> Result<()> {
        let enough = self.watch.asked_since(self.begin) + more;
        poll(SOON, || Ok((self.watch.asked_since(self.begin) >= enough).then_some(())))?
            .context("the prober stopped")
    }

    fn for_a_while(&self) -> Result<()> {
        self.asked(usize::try_from(AFTERWARDS.as_millis() / INTERVAL.as_millis())?)
    }

    /// Waits for another answer than the owner's, and says how long that took.
    fn taken_over(&self, lab: &Lab, since: Instant) -> Result<String> {
        let taken = lab
            .wait_until("an answer by another node", SOON, || Ok(self.watch.first_other(since, self.mac)))?;
        println!("     {:>7} ms  until another node answers", (taken.at - since).as_millis());
        ensure!(taken.at - since <= TAKEOVER, "{} took over after {:?}", self.address, taken.at - since);
        owner(lab, &taken)
    }

    fn verdict(self) -> Result<Verdict> {
        let verdict = Verdict::of(&self.watch.stop()?, self.begin);
        println!(
            "     {:>7} ms  dark, {} ms answered by two, {} of {} unanswered, {} changes",
            verdict.dark.as_millis(),
            verdict.overlap.as_millis(),
            verdict.unanswered,
            verdict.asked,
            verdict.changes
        );
        Ok(verdict)
    }

    /// Nothing was unanswered and nothing moved.
    fn undisturbed(self) -> Result<()> {
        let verdict = self.verdict()?;
        ensure!(verdict.unanswered == 0 && verdict.changes == 0, "{verdict:?}");
        Ok(())
    }
}

fn one_overlap(verdict: &Verdict) -> Result<()> {
    ensure!(verdict.overlap.is_zero(), "two nodes answered: {verdict:?}");
    Ok(())
}

/// Runs a test on a Service that is deleted afterwards, with a lab that can be changed.
fn with_service(lab: &mut Lab, name: &str, test: fn(&mut Lab, IpAddr) -> Result<()>) -> Result<()> {
    let service = Service::new(name);
    lab.apply(&service.yaml())?;
    let address = lab
        .wait_until("an address", SOON, || Ok(clarion_e2e::look::addresses(lab, name)?.into_iter().next()));
    let result = address.and_then(|address| test(lab, address));
    lab.delete(&service.yaml())?;
    result
}

fn back(lab: &mut Lab, nodes: &[String]) -> Result<()> {
    for node in nodes {
        lab.power_on(node)?;
    }
    lab.wait_nodes_ready(Duration::from_secs(30))?;
    lab.wait_clarion_ready(Duration::from_secs(60))
}

fn power(lab: &mut Lab) -> Result<()> {
    with_service(lab, "chaos-power", |lab, address| {
        let watched = Watched::new(lab, address)?;
        let node = watched.node.clone();
        let off = lab.power_off(&node)?;
        let result = watched.taken_over(lab, off);
        watched.asked(100)?;
        let verdict = watched.verdict()?;
        back(lab, &[node])?;
        result?;
        one_overlap(&verdict)
    })
}

fn silent_cut(lab: &mut Lab) -> Result<()> {
    let held = Held::apply(lab, &Service::new("chaos-cut"))?;
    let watched = Watched::new(lab, held.address()?)?;
    let cut = lab.cut_link(&watched.node, Cut::Silent)?;
    let result = watched.taken_over(lab, cut);
    watched.asked(200)?;
    lab.heal_link(&watched.node)?;
    watched.for_a_while()?;
    let verdict = watched.verdict()?;
    lab.wait_clarion_ready(Duration::from_secs(30))?;
    result?;
    one_overlap(&verdict)
}

fn agents(lab: &mut Lab) -> Result<()> {
    let held = Held::apply(lab, &Service::new("chaos-agent"))?;
    let address = held.address()?;
    let watched = Watched::new(lab, address)?;
    let agent = lab.node(&watched.node)?.process("clarion-agent")?;
    agent.pause();
    let result = watched.for_a_while();
    agent.resume();
    result?;
    watched.for_a_while()?;
    watched.undisturbed().context("an agent was paused")?;
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let watched = Watched::new(lab, address)?;
        restart(lab, &watched.node, signal, READY)?;
        watched.for_a_while()?;
        watched.undisturbed().with_context(|| format!("an agent got {signal}"))?;
    }
    Ok(())
}

fn cordoned(lab: &mut Lab) -> Result<()> {
    let held = Held::apply(lab, &Service::new("chaos-drain"))?;
    let watched = Watched::new(lab, held.address()?)?;
    let node = watched.node.clone();
    lab.kubectl(&["cordon", &node])?;
    // The agent has to know it, too: it says so.
    let result = lab
        .wait_until("the agent of a cordoned node", SOON, || {
            let state = clarion_e2e::look::state(lab, &node)?;
            Ok((state["cordoned"] == true).then_some(()))
        })
        .and_then(|()| restart(lab, &node, Signal::SIGTERM, READY))
        .and_then(|()| watched.asked(100));
    lab.kubectl(&["uncordon", &node])?;
    result?;
    let verdict = watched.verdict()?;
    ensure!(verdict.unanswered == 0 && verdict.changes == 1, "{verdict:?}");
    one_overlap(&verdict)
}

fn rolled(lab: &mut Lab) -> Result<()> {
    let held = Held::apply(lab, &Service::new("chaos-roll"))?;
    let watched = Watched::new(lab, held.address()?)?;
    lab.kubectl(&["rollout", "restart", "daemonset/clarion-agent", "-n", NAMESPACE])?;
    lab.kubectl(&["rollout", "status", "daemonset/clarion-agent", "-n", NAMESPACE, "--timeout=90s"])?;
    watched.asked(200)?;
    watched.undisturbed()
}

fn without_api(lab: &mut Lab) -> Result<()> {
    with_service(lab, "chaos-api", |lab, address| {
        let watched = Watched::new(lab, address)?;
        let node = watched.node.clone();
        lab.control_plane()?.process("kube-apiserver")?.pause();
        let off = lab.power_off(&node);
        let result = off.and_then(|off| watched.taken_over(lab, off));
        lab.control_plane()?.process("kube-apiserver")?.resume();
        let verdict = watched.verdict()?;
        back(lab, &[node])?;
        result?;
        one_overlap(&verdict)
    })
}

fn last_standing(lab: &mut Lab) -> Result<()> {
    with_service(lab, "chaos-last", |lab, address| {
        let watched = Watched::new(lab, address)?;
        let mut off = vec![watched.node.clone()];
        let others = lab.nodes().iter().map(|node| node.machine().name().to_owned());
        let other = others.rev().find(|name| *name != watched.node).context("one node")?;
        off.push(other);
        let begin = lab.power_off(&off[0])?;
        lab.power_off(&off[1])?;
        let last = lab.wait_until("an answer by the last node", SOON, || {
            let dead = [watched.mac, lab.node(&off[1])?.station().mac];
            let answer = prober(lab)?.ask(address, Duration::from_millis(20))?;
            Ok(answer.filter(|answer| !dead.contains(&answer.mac)))
        });
        if let Ok(answer) = &last {
            println!("     {:>7} ms  until the last of three nodes answers", (answer.at - begin).as_millis());
        }
        back(lab, &off)?;
        watched.for_a_while()?;
        let verdict = watched.verdict()?;
        last?;
        ensure!(verdict.overlap <= Duration::from_millis(50), "two nodes answered: {verdict:?}");
        Ok(())
    })
}
