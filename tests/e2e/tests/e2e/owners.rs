//! Who answers when nodes, wires and agents fail, and that it is one in the end.

use anyhow::{Context, Result, ensure};
use clarion_e2e::agents;
use clarion_e2e::harness::Case;
use clarion_e2e::look::{Held, SOON, answered, metrics, owner, prober, wait_deployment};
use clarion_e2e::objects::{Service, WORKLOAD_NAMESPACE, deployment};
use clarion_lab::http::Request;
use clarion_lab::prober::{Sample, Watch};
use clarion_lab::wait::poll;
use clarion_lab::{Cut, Lab, NAMESPACE};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

pub(crate) const CASES: &[Case] = &[
    ("the owner is told by an event nodeAssigned", assigned),
    ("externalTrafficPolicy Local is announced by the pod's node alone, and follows the pod", local),
    ("a wire that is cut moves the address, and one node answers when it is mended", cut_wire),
    ("an interface that goes down and up is answered on again", flap),
    ("an agent that restarts beside a dead node that ranks better leaves no address dark", beside_the_dead),
    ("generic XDP, clsact and TCX answer as native XDP does, also while an agent is killed", modes),
];

/// How long questions go on after what must not make an address dark.
const AFTERWARDS: Duration = Duration::from_secs(4);
const INTERVAL: Duration = Duration::from_millis(10);

/// Waits until exactly one node answers, and returns its name.
fn one_owner(lab: &Lab, address: IpAddr) -> Result<String> {
    let asker = prober(lab)?;
    lab.wait_until(&format!("exactly one answer for {address}"), SOON, || {
        let answers = asker.ask_all(address, Duration::from_millis(100))?;
        let [answer] = answers.as_slice() else { return Ok(None) };
        owner(lab, answer).map(Some)
    })
}

/// Waits until exactly this node answers.
fn owned_by(lab: &Lab, address: IpAddr, node: &str) -> Result<()> {
    lab.wait_until(&format!("{node} alone answers for {address}"), SOON, || {
        Ok((one_owner(lab, address)? == node).then_some(()))
    })
}

/// Waits until the agent of a node says that it is ready.
fn agent_ready(lab: &Lab, node: &str) -> Result<()> {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 17472));
    lab.wait_until(&format!("the agent of {node} ready"), SOON, || {
        let answer = Request::get("/readyz").send_in(lab.node(node)?.machine().netns(), to, SOON)?;
        ensure!(answer.status == 200, "{}", answer.text());
        Ok(Some(()))
    })
}

/// Waits until the Lease of a node's agent is there, or is not.
fn lease(lab: &Lab, node: &str, there: bool) -> Result<()> {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/clarion-agent-{node}");
    lab.wait_until(&format!("Lease of {node}: {there}"), SOON, || {
        Ok((lab.get(&path)?.is_some() == there).then_some(()))
    })
}

/// Waits for another answer than `node`'s, and says how long that took.
fn taken_over(lab: &Lab, watch: &Watch, node: &str, since: Instant) -> Result<String> {
    let mac = lab.node(node)?.station().mac;
    let taken = lab.wait_until("an answer by another node", SOON, || Ok(watch.first_other(since, mac)))?;
    println!("     {:>7} ms  until another node answers", (taken.at - since).as_millis());
    owner(lab, &taken)
}

fn assigned(lab: &mut Lab) -> Result<()> {
    let held = Held::apply(lab, &Service::new("assigned"))?;
    let node = owner(lab, &answered(lab, &prober(lab)?, held.address()?)?)?;
    let wanted = format!("announcing from node \"{node}\" with protocol \"layer2\"");
    lab.wait_until(&wanted, SOON, || {
        let events = lab.events(WORKLOAD_NAMESPACE, "Service", "assigned")?;
        Ok(events.iter().any(|(reason, text)| reason == "nodeAssigned" && *text == wanted).then_some(()))
    })
}

fn on_node(name: &str, node: &str) -> String {
    let selector = format!("    spec:\n      nodeSelector: {{kubernetes.io/hostname: {node}}}\n");
    deployment(name, 1).replacen("    spec:\n", &selector, 1)
}

fn local(lab: &mut Lab) -> Result<()> {
    let pods = Held::any(lab, "near", on_node("near", "n2"))?;
    wait_deployment(lab, "near", 1)?;
    let service = Service::new("near").app("near").field("externalTrafficPolicy", "Local");
    let held = Held::apply(lab, &service)?;
    let address = held.address()?;
    for node in ["n2", "n3"] {
        lab.apply(&on_node("near", node))?;
        owned_by(lab, address, node)?;
        let hops = BTreeSet::from([IpAddr::from(lab.node(node)?.station().v4)]);
        lab.wait_until(&format!("a route by {node} alone"), SOON, || {
            Ok((lab.router(1)?.next_hops(address)? == hops).then_some(()))
        })?;
    }
    held.delete()?;
    pods.delete()
}

fn cut_wire(lab: &mut Lab) -> Result<()> {
    let held = Held::apply(lab, &Service::new("cut"))?;
    let address = held.address()?;
    let node = one_owner(lab, address)?;
    let watch = prober(lab)?.watch(address, INTERVAL);
    let cut = lab.cut_link(&node, Cut::Carrier)?;
    let result = taken_over(lab, &watch, &node, cut);
    lab.heal_link(&node)?;
    watch.stop()?;
    result?;
    // It begins anew, and gets back what the plan names it for.
    owned_by(lab, address, &node)?;
    agent_ready(lab, &node)
}

fn flap(lab: &mut Lab) -> Result<()> {
    let held = Held::apply(lab, &Service::new("flap").dual())?;
    let all = held.addresses(2)?;
    let node = one_owner(lab, all[0])?;
    lab.flap_link(&node)?;
    for address in all {
        owned_by(lab, address, &node)?;
    }
    agent_ready(lab, &node)
}

fn beside_the_dead(lab: &mut Lab) -> Result<()> {
    let service = Service::new("dead").dual();
    lab.apply(&service.yaml())?;
    let result = restart_beside_the_dead(lab);
    lab.delete(&service.yaml())?;
    result
}

fn restart_beside_the_dead(lab: &mut Lab) -> Result<()> {
    let address = lab.wait_until("an address", SOON, || {
        Ok(clarion_e2e::look::addresses(lab, "dead")?.into_iter().find(IpAddr::is_ipv4))
    })?;
    let dead = one_owner(lab, address)?;
    let watch = prober(lab)?.watch(address, INTERVAL);
    let off = lab.power_off(&dead)?;
    let next = taken_over(lab, &watch, &dead, off)?;
    // The plan still names the dead node first, and the new agent cannot know that it is dead.
    lease(lab, &dead, true)?;
    let old = lab.node(&next)?.process("clarion-agent")?;
    let killed = lab.kill_agent(&next)?;
    lab.wait_until("a new agent", SOON, || {
        let now = lab.node(&next)?.machine().processes("clarion-agent");
        Ok(now.first().filter(|agent| **agent != old).map(drop))
    })?;
    agent_ready(lab, &next)?;
    poll(AFTERWARDS * 3, || Ok((killed.elapsed() > AFTERWARDS).then_some(())))?
        .context("time stands still")?;
    let samples = watch.stop()?;
    let since: Vec<&Sample> = samples.iter().filter(|s| s.sent >= killed).collect();
    let dark: Vec<_> = since.iter().filter(|s| s.answers.is_empty()).map(|s| s.sent - killed).collect();
    ensure!(dark.is_empty(), "{} of {} not answered, the first after {:?}", dark.len(), since.len(), dark[0]);
    // A node that is taken out of the cluster takes its Lease along.
    lab.kubectl(&["delete", "node", &dead])?;
    lease(lab, &dead, false)?;
    lab.power_on(&dead)?;
    lab.wait_nodes_ready(Duration::from_secs(30))?;
    lab.wait_clarion_ready(Duration::from_secs(60))?;
    // What it comes back to is planned without it.
    owned_by(lab, address, &next)
}

fn modes(lab: &mut Lab) -> Result<()> {
    let daemonset = agents::daemonset(lab)?;
    let args = daemonset["spec"]["template"]["spec"]["containers"][0]["args"].as_array().context("args")?;
    let start = |mode: &str| {
        let more = args.iter().cloned().chain([format!("--attach-mode={mode}").into()]).collect();
        agents::replace(lab, "args", &serde_json::Value::Array(more))
    };
    let in_mode = |mode: &str| -> Result<()> {
        start(mode)?;
        attached(lab, mode)?;
        let (v4, v6) = (Service::new(mode), Service::new(&format!("{mode}6")).v6());
        super::announce::answered_once(lab, &v4, "arp_answered", "arp_silenced")?;
        super::announce::answered_once(lab, &v6, "ndp_answered", "ndp_silenced")?;
        killed(lab, mode)
    };
    let result =
        ["generic", "clsact", "tcx"].into_iter().try_for_each(|mode| in_mode(mode).context(mode.to_owned()));
    // What `auto` finds better than what is there is native.
    lab.install_clarion()?;
    attached(lab, "native")?;
    result
}

/// An agent that is killed leaves no request unanswered, and the next one finds its program.
fn killed(lab: &Lab, mode: &str) -> Result<()> {
    let held = Held::apply(lab, &Service::new(&format!("killed-{mode}")))?;
    let address = held.address()?;
    let node = one_owner(lab, address)?;
    let watch = prober(lab)?.watch(address, INTERVAL);
    agents::restart(lab, &node, Signal::SIGKILL, SOON)?;
    attached(lab, mode)?;
    let samples = watch.stop()?;
    let dark = samples.iter().filter(|sample| sample.answers.is_empty()).count();
    ensure!(dark == 0, "{dark} of {} requests not answered", samples.len());
    held.delete()
}

/// Waits until every agent runs the program in this mode and is ready.
fn attached(lab: &Lab, mode: &str) -> Result<()> {
    lab.wait_until(&format!("{mode} on every node"), Duration::from_secs(40), || {
        let here = |node: &clarion_lab::node::Node| -> Result<bool> {
            let text = metrics(lab, node.machine().name())?;
            let eth0 =
                text.lines().find(|l| l.starts_with("clarion_attachment_info") && l.contains("\"eth0\""));
            Ok(eth0.is_some_and(|line| line.contains(&format!("mode=\"{mode}\""))))
        };
        let all = lab.nodes().iter().map(here).collect::<Result<Vec<_>>>()?;
        Ok(all.iter().all(|yes| *yes).then_some(()))
    })
}
