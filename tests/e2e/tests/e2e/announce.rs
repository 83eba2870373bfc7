//! What the network sees: ARP, NDP, routes, HTTP.

use anyhow::{Result, ensure};
use clarion_e2e::harness::Case;
use clarion_e2e::look::{Held, QUIET, SOON, answered, http, outcome, owner, prober, silent, wait_deployment};
use clarion_e2e::objects::{Service, deployment};
use clarion_lab::Lab;
use clarion_lab::http::Request;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[
    ("ARP is answered by XDP with the owner's eth0, and by nobody else", |lab| {
        answered_once(lab, &Service::new("arp"), "arp_answered", "arp_silenced")
    }),
    ("NDP is answered by XDP with the owner's eth0, and by nobody else", |lab| {
        answered_once(lab, &Service::new("ndp").v6(), "ndp_answered", "ndp_silenced")
    }),
    ("an address of the pool that no Service has is not answered", unassigned),
    ("nobody answers for an address whose Service was deleted", deleted),
    ("HTTP is served over layer 2, both families", |lab| served(lab, false)),
    ("HTTP is served over the router's routes, both families", |lab| served(lab, true)),
    ("the router has a route of each family by every node, and none after deletion", routes),
    ("a Service without ready endpoints is withdrawn from layer 2 and BGP, and comes back", unready),
    ("ServiceL2Status names the node that answers", l2_status),
];

/// One node answers, by the program and not by the kernel, and the others count their silence.
pub(crate) fn answered_once(
    lab: &Lab,
    service: &Service,
    answer_counter: &str,
    silence_counter: &str,
) -> Result<()> {
    let held = Held::apply(lab, service)?;
    let address = held.address()?;
    let prober = prober(lab)?;
    let node = owner(lab, &answered(lab, &prober, address)?)?;
    // Others learn of the address at about the same time; ask when they have had theirs.
    let others: Vec<String> =
        lab.nodes().iter().map(|n| n.machine().name().to_owned()).filter(|n| *n != node).collect();
    let silenced = |name: &String| outcome(lab, name, silence_counter);
    let before: Vec<u64> = others.iter().map(silenced).collect::<Result<_>>()?;
    let answered_before = outcome(lab, &node, answer_counter)?;
    let answers = prober.ask_all(address, QUIET)?;
    ensure!(answers.len() == 1 && owner(lab, &answers[0])? == node, "{answers:?}");
    ensure!(outcome(lab, &node, answer_counter)? > answered_before, "the kernel answered, not XDP");
    lab.wait_until("the other nodes' silence counted", SOON, || {
        prober.ask_all(address, Duration::from_millis(20))?;
        let now: Vec<u64> = others.iter().map(silenced).collect::<Result<_>>()?;
        Ok(now.iter().zip(&before).all(|(now, before)| now > before).then_some(()))
    })
}

fn unassigned(lab: &mut Lab) -> Result<()> {
    for address in ["192.168.100.229", "fd00:100::2ff"] {
        let answers = prober(lab)?.ask_all(address.parse()?, QUIET)?;
        ensure!(answers.is_empty(), "{address}: {answers:?}");
    }
    Ok(())
}

fn deleted(lab: &mut Lab) -> Result<()> {
    let held = Held::apply(lab, &Service::new("gone").dual())?;
    let all = held.addresses(2)?;
    let prober = prober(lab)?;
    for address in &all {
        answered(lab, &prober, *address)?;
    }
    held.delete()?;
    all.iter().try_for_each(|address| silent(lab, &prober, *address))
}

fn served(lab: &Lab, routed: bool) -> Result<()> {
    let held = Held::apply(lab, &Service::new("served").dual())?;
    let from = if routed { lab.router(1)?.far_client() } else { lab.client(1)? };
    for address in held.addresses(2)? {
        if routed {
            all_next_hops(lab, address)?;
        }
        let answer = http(lab, from, address)?;
        ensure!(answer.text().contains("pod web-"), "{}", answer.text());
    }
    Ok(())
}

fn all_next_hops(lab: &Lab, address: IpAddr) -> Result<()> {
    let station = |n: &clarion_lab::node::Node| -> IpAddr {
        if address.is_ipv4() { n.station().v4.into() } else { n.station().v6.into() }
    };
    let wanted = lab.nodes().iter().map(station).collect();
    lab.wait_until(&format!("a route to {address} by every node"), SOON, || {
        Ok((lab.router(1)?.next_hops(address)? == wanted).then_some(()))
    })
}

fn routes(lab: &mut Lab) -> Result<()> {
    let held = Held::apply(lab, &Service::new("routed").dual())?;
    let all = held.addresses(2)?;
    for address in &all {
        all_next_hops(lab, *address)?;
        let (family, length) = if address.is_ipv4() { ("ipv4", 32) } else { ("ipv6", 128) };
        let table = lab.router(1)?.vtysh(&format!("show bgp {family} unicast"))?;
        ensure!(table.contains(&format!("{address}/{length}")), "{table}");
    }
    held.delete()?;
    lab.wait_until("the routes withdrawn", SOON, || {
        let router = lab.router(1)?;
        let left = all.iter().map(|a| router.next_hops(*a)).collect::<Result<Vec<_>>>()?;
        Ok(left.iter().all(std::collections::BTreeSet::is_empty).then_some(()))
    })
}

fn unready(lab: &mut Lab) -> Result<()> {
    let pods = Held::any(lab, "moody", deployment("moody", 1))?;
    wait_deployment(lab, "moody", 1)?;
    let service = Held::apply(lab, &Service::new("moody").app("moody"))?;
    let address = service.address()?;
    let prober = prober(lab)?;
    answered(lab, &prober, address)?;
    all_next_hops(lab, address)?;
    let pod = lab.list("/api/v1/namespaces/web/pods?labelSelector=app%3Dmoody")?;
    let pod: IpAddr = pod[0]["status"]["podIP"].as_str().unwrap_or_default().parse()?;
    let health = |status: u16| -> Result<()> {
        let request = Request::get(&format!("/health?status={status}"));
        let answer =
            request.send_in(lab.node("n1")?.machine().netns(), SocketAddr::from((pod, 8080)), SOON)?;
        ensure!(answer.status == 200, "{}", answer.text());
        Ok(())
    };
    health(503)?;
    silent(lab, &prober, address)?;
    lab.wait_until("the route withdrawn", SOON, || {
        Ok(lab.router(1)?.next_hops(address)?.is_empty().then_some(()))
    })?;
    ensure!(service.address()? == address, "the Service keeps its address");
    health(200)?;
    answered(lab, &prober, address)?;
    all_next_hops(lab, address)?;
    service.delete()?;
    pods.delete()
}

fn l2_status(lab: &mut Lab) -> Result<()> {
    let held = Held::apply(lab, &Service::new("status"))?;
    let node = owner(lab, &answered(lab, &prober(lab)?, held.address()?)?)?;
    let path = "/apis/metallb.io/v1beta1/namespaces/metallb-system/servicel2statuses?labelSelector=metallb.io%2Fservice-name%3Dstatus";
    lab.wait_until("ServiceL2Status", SOON, || {
        let all = lab.list(path)?;
        let fits = |s: &serde_json::Value| {
            s["status"]["node"] == node.as_str()
                && s["status"]["serviceName"] == "status"
                && s["status"]["serviceNamespace"] == "web"
        };
        Ok((all.len() == 1 && fits(&all[0])).then_some(()))
    })
}
