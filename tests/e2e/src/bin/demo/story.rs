//! What happens in the demo, measured where it happens.

use crate::tell::Teller;
use anyhow::{Context, Result, ensure};
use clarion_e2e::look::{
    SOON, answered, http, ingress, outcome, owner, prober, service_path, wait_deployment,
};
use clarion_e2e::objects::{Service, bgp, l2_advertisement, pool, workload};
use clarion_lab::Lab;
use clarion_lab::prober::{Answer, Prober};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The Service of the story.
const SERVICE: &str = "hello";
/// How often the failover is looked at, and so its precision.
const LOOK: Duration = Duration::from_millis(5);

/// A step that failed: its name, how long it tried, why.
type Failure = (&'static str, Duration, anyhow::Error);

/// What a step found: what was measured, a line, further lines.
type Told = (Duration, String, Vec<String>);

/// Runs one step and tells it; its value goes on to the next.
fn step<T>(
    teller: &mut Teller,
    name: &'static str,
    run: impl FnOnce() -> Result<(T, Told)>,
) -> Result<T, Failure> {
    let begin = Instant::now();
    let (value, (took, detail, see)) = run().map_err(|error| (name, begin.elapsed(), error))?;
    teller.passed(name, took, &detail, &see);
    Ok(value)
}

/// Plays it to the end or to the first failure.
pub(crate) fn play(lab: &mut Lab, teller: &mut Teller) -> Result<(), Failure> {
    step(teller, "A pool and both advertisements", || configure(lab))?;
    step(teller, "A workload of three pods", || work(lab))?;
    let birth = step(teller, "A Service gets its addresses", || create(lab))?;
    step(teller, "ARP: XDP answers for the owner", || answer(lab, &birth, birth.v4, "arp_answered"))?;
    step(teller, "NDP: XDP answers for the owner", || answer(lab, &birth, birth.v6, "ndp_answered"))?;
    step(teller, "HTTP by layer 2", || get(lab, &birth, false))?;
    step(teller, "The router has its routes", || routes(lab, &birth))?;
    step(teller, "HTTP by the router's ECMP routes", || get(lab, &birth, true))?;
    let off = step(teller, "The owner's power fails", || power_off(lab, &birth))?;
    step(teller, "HTTP by the next owner", || get(lab, &birth, false))?;
    step(teller, "The node comes back", || power_on(lab, &off))
}

fn configure(lab: &Lab) -> Result<((), Told)> {
    let begin = Instant::now();
    lab.apply(&[pool(), l2_advertisement(), bgp()].join("---\n"))?;
    let see = "kubectl get ipaddresspools,l2advertisements,bgpadvertisements,bgppeers -n metallb-system";
    let detail = "192.168.100.200-229 and fd00:100::200-2ff, layer 2 and BGP".to_owned();
    Ok(((), (begin.elapsed(), detail, vec![see.to_owned()])))
}

fn work(lab: &Lab) -> Result<((), Told)> {
    let begin = Instant::now();
    lab.apply(&workload())?;
    wait_deployment(lab, "web", 3)?;
    let detail = "web servers in namespaces of their own".to_owned();
    Ok(((), (begin.elapsed(), detail, vec!["kubectl get pods -n web -o wide".to_owned()])))
}

/// What was seen around the creation of the Service. Times count from the
/// moment the API server showed the Service to a watcher.
struct Birth {
    v4: IpAddr,
    v6: IpAddr,
    addresses: Duration,
    first_answer: [(IpAddr, Duration); 2],
}

fn create(lab: &Lab) -> Result<(Birth, Told)> {
    let probers = [prober(lab)?, prober(lab)?];
    let birth = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(lab, &probers));
        // Its watch is open before kubectl has started up; if not, the event of an existing object serves.
        lab.apply(&Service::new(SERVICE).dual().yaml())?;
        watcher.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))?
    })?;
    let detail = format!("{} and {}", birth.v4, birth.v6);
    let answers =
        birth.first_answer.map(|(address, at)| format!("first answer for {address} after {:.1} ms", ms(at)));
    let mut see = vec![format!("kubectl get service {SERVICE} -n web")];
    see.extend(answers);
    let took = birth.addresses;
    Ok((birth, (took, detail, see)))
}

fn watch(lab: &Lab, probers: &[Prober; 2]) -> Result<Birth> {
    let path = service_path(SERVICE);
    let (list, _) = path.rsplit_once('/').context("path")?;
    let mut seen = None;
    let query = format!("{list}?fieldSelector=metadata.name%3D{SERVICE}");
    let (addresses, v4, v6) = lab.watch(&query, SOON, |event| {
        let begin = *seen.get_or_insert_with(Instant::now);
        let all = ingress(&event["object"]);
        let v4 = all.iter().find(|a| a.is_ipv4());
        Some((begin.elapsed(), *v4?, *all.iter().find(|a| a.is_ipv6())?))
    })?;
    let begin = seen.context("the Service was not seen")?;
    let first = |prober: &Prober, address: IpAddr| -> Result<(IpAddr, Duration)> {
        let answer = clarion_lab::wait::poll(SOON, || prober.ask(address, LOOK))?;
        let answer = answer.with_context(|| format!("nobody answers for {address}"))?;
        Ok((address, answer.at - begin))
    };
    std::thread::scope(|scope| {
        let second = scope.spawn(|| first(&probers[1], v6));
        let first_v4 = first(&probers[0], v4)?;
        let first_v6 = second.join().map_err(|_| anyhow::anyhow!("a prober panicked"))??;
        Ok(Birth { v4, v6, addresses, first_answer: [first_v4, first_v6] })
    })
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

fn answer(lab: &Lab, birth: &Birth, address: IpAddr, counter: &str) -> Result<((), Told)> {
    let asker = prober(lab)?;
    let node = owner(lab, &answered(lab, &asker, address)?)?;
    let before = outcome(lab, &node, counter)?;
    // The fastest of some: the figure is the program's, not the scheduler's.
    let answers = (0..20).map(|_| answered(lab, &asker, address)).collect::<Result<Vec<Answer>>>()?;
    let after = outcome(lab, &node, counter)?;
    ensure!(
        after >= before + 20,
        "{counter} went from {before} to {after} with 20 questions: the kernel answered, not XDP"
    );
    let best = answers.iter().min_by_key(|a| a.took).context("no answer")?;
    let mac = clarion_lab::switch::mac_text(best.mac);
    let first = birth.first_answer.iter().find(|(a, _)| *a == address).map_or(Duration::ZERO, |(_, at)| *at);
    let detail =
        format!("{address} is at {mac}, eth0 of {node}; a question takes {} µs", best.took.as_micros());
    let see = vec![
        format!("outcome \"{counter}\" of {node}: {before} → {after}"),
        format!("ip netns exec {} arping -c 3 {address}", lab.client(1)?.name()),
    ];
    let see = if address.is_ipv4() { see } else { see[..1].to_vec() };
    Ok(((), (first, detail, see)))
}

fn get(lab: &Lab, birth: &Birth, routed: bool) -> Result<((), Told)> {
    let from = if routed { lab.router(1)?.far_client() } else { lab.client(1)? };
    let first = http(lab, from, birth.v4)?;
    let second = http(lab, from, birth.v6)?;
    let detail = format!("200 from {} and 200 from {}", birth.v4, birth.v6);
    let see = vec![
        first.text().trim().to_owned(),
        second.text().trim().to_owned(),
        format!("ip netns exec {} curl http://{}/", from.name(), birth.v4),
    ];
    Ok(((), (first.took, detail, see)))
}

fn routes(lab: &Lab, birth: &Birth) -> Result<((), Told)> {
    let begin = Instant::now();
    let router = lab.router(1)?;
    let v4: BTreeSet<IpAddr> = lab.nodes().iter().map(|n| n.station().v4.into()).collect();
    let v6: BTreeSet<IpAddr> = lab.nodes().iter().map(|n| n.station().v6.into()).collect();
    lab.wait_until("routes of both families by every node", SOON, || {
        Ok((router.next_hops(birth.v4)? == v4 && router.next_hops(birth.v6)? == v6).then_some(()))
    })?;
    let took = begin.elapsed();
    let table = |address: IpAddr, command: &str| -> Result<String> {
        Ok(router.vtysh(&format!("{command} {address}"))?.trim().to_owned())
    };
    let see = vec![table(birth.v4, "show ip route")?, table(birth.v6, "show ipv6 route")?];
    Ok(((), (took, format!("{} next hops for each address", v4.len()), see)))
}

fn power_off(lab: &mut Lab, birth: &Birth) -> Result<(String, Told)> {
    let node = owner(lab, &answered(lab, &prober(lab)?, birth.v4)?)?;
    let mac = lab.node(&node)?.station().mac;
    let watch = prober(lab)?.watch(birth.v4, LOOK);
    let off = lab.power_off(&node)?;
    let taken = lab.wait_until("an answer by another node", SOON, || Ok(watch.first_other(off, mac)));
    watch.stop()?;
    let taken = taken?;
    let next = owner(lab, &taken)?;
    let detail = format!("{node} is off; {next} answers for {}", birth.v4);
    Ok((node, (taken.at - off, detail, vec!["kubectl get servicel2statuses -n metallb-system".to_owned()])))
}

fn power_on(lab: &mut Lab, node: &str) -> Result<((), Told)> {
    let begin = Instant::now();
    lab.power_on(node)?;
    lab.wait_nodes_ready(Duration::from_secs(30))?;
    lab.wait_clarion_ready(Duration::from_secs(60))?;
    let detail = format!("{node} booted, its agent is ready");
    Ok(((), (begin.elapsed(), detail, vec!["kubectl get pods -n metallb-system -o wide".to_owned()])))
}
