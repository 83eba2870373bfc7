//! Faults: what users notice when a part dies.

use anyhow::{Context, Result, ensure};
use clarion_e2e::harness::Case;
use clarion_e2e::look::{Held, SOON, addresses, answered, http, owner, prober};
use clarion_e2e::objects::Service;
use clarion_lab::prober::Sample;
use clarion_lab::process::ProcessId;
use clarion_lab::wait::poll;
use clarion_lab::{Lab, NAMESPACE};
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub(crate) const CASES: &[Case] = &[
    ("all controllers restart and every address stays", restart),
    ("the leader dies and another controller takes over", leader),
    ("an agent dies, the kernel goes on answering, and its successor adopts without a gap", agent),
    ("the owner's power fails and another node answers", power),
];

fn controllers(lab: &Lab) -> Vec<(String, ProcessId)> {
    let of = |n: &clarion_lab::node::Node| {
        let name = n.machine().name().to_owned();
        n.machine()
            .processes("clarion-controller")
            .into_iter()
            .map(move |p| (name.clone(), p))
            .collect::<Vec<_>>()
    };
    lab.nodes().iter().flat_map(of).collect()
}

fn restart(lab: &mut Lab) -> Result<()> {
    let names = ["stay-a", "stay-b", "stay-c"];
    let held = names.map(|name| Held::apply(lab, &Service::new(name).dual()));
    let held = held.into_iter().collect::<Result<Vec<_>>>()?;
    let before = held.iter().map(|h| h.addresses(2)).collect::<Result<Vec<Vec<IpAddr>>>>()?;
    let old = controllers(lab);
    ensure!(old.len() == 2, "{} controllers run, want 2", old.len());
    old.iter().for_each(|(_, process)| process.kill());
    lab.wait_until("new controllers", SOON, || {
        let now = controllers(lab);
        Ok((now.len() == old.len() && now.iter().all(|p| !old.contains(p))).then_some(()))
    })?;
    let later = Held::apply(lab, &Service::new("later").dual())?;
    let fresh = lab.wait_until("an address by a new controller", Duration::from_secs(40), || {
        Ok(Some(addresses(lab, "later")?).filter(|all| all.len() == 2))
    })?;
    for (name, before) in names.iter().zip(&before) {
        let now = addresses(lab, name)?;
        ensure!(now == *before, "{name}: {before:?} became {now:?}");
        ensure!(!before.iter().any(|a| fresh.contains(a)), "{fresh:?} was given twice");
    }
    drop(later);
    Ok(())
}

fn leader(lab: &mut Lab) -> Result<()> {
    let holder = |lab: &Lab| -> Result<String> {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/clarion-controller");
        let lease = lab.get(&path)?.context("no Lease clarion-controller")?;
        Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
    };
    let old = holder(lab)?;
    let pods = lab.list(&format!("/api/v1/namespaces/{NAMESPACE}/pods"))?;
    let pod = pods.iter().find(|p| p["metadata"]["name"].as_str().is_some_and(|name| old.starts_with(name)));
    let node = pod
        .and_then(|p| p["spec"]["nodeName"].as_str())
        .with_context(|| format!("no pod of holder {old:?}"))?;
    // Paused, not killed: the kubelet would start the same pod again at once, and it may lead again.
    let leading = controllers(lab).into_iter().filter(|(n, _)| n == node).map(|(_, p)| p).collect::<Vec<_>>();
    ensure!(!leading.is_empty(), "no controller runs on {node}");
    leading.iter().for_each(|p| p.pause());
    let result = lab.wait_until("another leader", Duration::from_secs(60), || {
        Ok(Some(holder(lab)?).filter(|now| !now.is_empty() && *now != old))
    });
    leading.iter().for_each(|p| p.resume());
    result?;
    Held::apply(lab, &Service::new("new-leader"))?.address()?;
    Ok(())
}

fn agent(lab: &mut Lab) -> Result<()> {
    let held = Held::apply(lab, &Service::new("agent"))?;
    let address = held.address()?;
    let asker = prober(lab)?;
    let node = owner(lab, &answered(lab, &asker, address)?)?;
    let mac = lab.node(&node)?.station().mac;
    let watch = asker.watch(address, Duration::from_millis(10));
    let old = lab.node(&node)?.process("clarion-agent")?;
    let killed = lab.kill_agent(&node)?;
    lab.wait_until("a new agent", SOON, || {
        let now = lab.node(&node)?.machine().processes("clarion-agent");
        Ok(now.first().filter(|p| **p != old).map(drop))
    })?;
    lab.wait_clarion_ready(Duration::from_secs(30))?;
    // Two seconds more: a wrong deletion by the new agent's first plan would be seen.
    let enough = watch.asked_since(killed) + 200;
    poll(SOON, || Ok((watch.asked_since(killed) >= enough).then_some(())))?.context("the prober stopped")?;
    let samples = watch.stop()?;
    let lost: Vec<&Sample> = samples.iter().filter(|s| s.answers.is_empty()).collect();
    ensure!(
        lost.is_empty(),
        "{} of {} questions were not answered, first after {:?}",
        lost.len(),
        samples.len(),
        lost[0].sent.saturating_duration_since(killed)
    );
    let foreign = samples.iter().flat_map(|s| &s.answers).find(|a| a.mac != mac);
    ensure!(foreign.is_none(), "another node answered: {foreign:?}");
    Ok(())
}

fn power(lab: &mut Lab) -> Result<()> {
    let service = Service::new("power").dual();
    lab.apply(&service.yaml())?;
    let result = power_fails(lab);
    lab.delete(&service.yaml())?;
    result
}

fn power_fails(lab: &mut Lab) -> Result<()> {
    let all =
        lab.wait_until("addresses", SOON, || Ok(Some(addresses(lab, "power")?).filter(|a| a.len() == 2)))?;
    let v4 = *all.iter().find(|a| a.is_ipv4()).context("no IPv4 address")?;
    let asker = prober(lab)?;
    let node = owner(lab, &answered(lab, &asker, v4)?)?;
    let mac = lab.node(&node)?.station().mac;
    let watch = asker.watch(v4, Duration::from_millis(5));
    let off = lab.power_off(&node)?;
    let taken = lab.wait_until("an answer by another node", SOON, || Ok(watch.first_other(off, mac)));
    watch.stop()?;
    let taken = taken?;
    println!("     {:>7} ms  from power-off to the next owner's answer", (taken.at - off).as_millis());
    ensure!(owner(lab, &taken)? != node);
    // kube-proxy still knows the dead node's pod; a retry meets a living one.
    let begin = Instant::now();
    http(lab, lab.client(1)?, v4)?;
    println!("     {:>7} ms  more until HTTP 200", begin.elapsed().as_millis());
    lab.power_on(&node)?;
    lab.wait_nodes_ready(Duration::from_secs(30))?;
    lab.wait_clarion_ready(Duration::from_secs(60))?;
    for address in all {
        let answers = lab.wait_until("one answer", SOON, || {
            Ok(Some(prober(lab)?.ask_all(address, Duration::from_millis(200))?).filter(|a| a.len() == 1))
        })?;
        owner(lab, &answers[0])?;
    }
    Ok(())
}
