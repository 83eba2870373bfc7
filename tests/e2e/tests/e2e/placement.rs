//! Plans: which nodes may own each layer 2 address, as the controller writes it down.

use anyhow::{Context, Result, ensure};
use clarion_e2e::harness::Case;
use clarion_e2e::look::{Held, SOON, wait_deployment};
use clarion_e2e::objects::{Service, WORKLOAD_NAMESPACE, deployment};
use clarion_lab::{Lab, NAMESPACE};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub(crate) const CASES: &[Case] = &[
    ("Services of policy Local are planned on the nodes with serving endpoints alone", local),
    ("addresses that share and both addresses of a Service have one owner", bound),
    (
        "300 addresses are 100 on each node, restarts change nothing, a labelled node gives up its own alone",
        spread,
    ),
];

const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const COUNT: usize = 300;
/// For what follows a change of leader or a pause between moves.
const LATER: Duration = Duration::from_secs(40);

/// An address's entry in the plans.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    epoch: u64,
    owners: Vec<String>,
    reason: String,
}

fn objects(lab: &Lab) -> Result<Vec<Value>> {
    lab.list(&format!("/apis/clarion.dev/v1alpha1/namespaces/{NAMESPACE}/ownerplans"))
}

/// What all OwnerPlans say of addresses that begin so.
fn plans(lab: &Lab, prefix: &str) -> Result<BTreeMap<String, Entry>> {
    let mut all = BTreeMap::new();
    for object in objects(lab)? {
        for entry in object["spec"]["addresses"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let address = text(&entry["address"]);
            let owners = entry["owners"].as_array().into_iter().flatten().map(text).collect();
            let epoch = entry["epoch"].as_u64().context("epoch")?;
            if address.starts_with(prefix) {
                let entry = Entry { epoch, owners, reason: text(&entry["reason"]) };
                let twice = all.insert(address.clone(), entry);
                ensure!(twice.is_none(), "{address} is in two OwnerPlans");
            }
        }
    }
    Ok(all)
}

fn entry(lab: &Lab, address: std::net::IpAddr) -> Result<Option<Entry>> {
    let address = address.to_string();
    Ok(plans(lab, &address)?.remove(&address))
}

fn owned(plans: &BTreeMap<String, Entry>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in plans.values() {
        *counts.entry(entry.owners.first().cloned().unwrap_or_default()).or_default() += 1;
    }
    counts
}

fn local(lab: &mut Lab) -> Result<()> {
    let pods = Held::any(lab, "solo", deployment("solo", 1))?;
    wait_deployment(lab, "solo", 1)?;
    let service = Service::new("planned-local").app("solo").field("externalTrafficPolicy", "Local");
    let service = Held::apply(lab, &service)?;
    let address = service.address()?;
    let path = format!("/api/v1/namespaces/{WORKLOAD_NAMESPACE}/pods?labelSelector=app%3Dsolo");
    let on = |lab: &Lab| -> Result<Vec<String>> {
        let pods = lab.list(&path)?;
        Ok(pods.iter().filter_map(|pod| pod["spec"]["nodeName"].as_str().map(str::to_owned)).collect())
    };
    lab.wait_until("the pod's node as the only owner", SOON, || {
        let (entry, nodes) = (entry(lab, address)?, on(lab)?);
        Ok(entry.filter(|entry| entry.owners == nodes && nodes.len() == 1).map(drop))
    })?;
    lab.kubectl(&["-n", WORKLOAD_NAMESPACE, "scale", "deployment/solo", "--replicas=0"])?;
    lab.wait_until("no owner and the reason", SOON, || {
        let entry = entry(lab, address)?;
        Ok(entry.filter(|e| e.owners.is_empty() && e.reason.contains("noLocalEndpoints: 3 nodes")).map(drop))
    })?;
    lab.kubectl(&["-n", WORKLOAD_NAMESPACE, "scale", "deployment/solo", "--replicas=2"])?;
    lab.wait_until("both pods' nodes as owners", SOON, || {
        let mut nodes = on(lab)?;
        nodes.sort();
        nodes.dedup();
        let entry = entry(lab, address)?.map(|mut entry| {
            entry.owners.sort();
            entry
        });
        Ok(entry.filter(|entry| nodes.len() == 2 && entry.owners == nodes).map(drop))
    })?;
    service.delete()?;
    lab.wait_until("the address gone from the plans", SOON, || {
        Ok(entry(lab, address)?.is_none().then_some(()))
    })?;
    pods.delete()
}

fn bound(lab: &mut Lab) -> Result<()> {
    let key = "metallb.io/allow-shared-ip";
    let ips = "metallb.io/loadBalancerIPs";
    let both = "192.168.100.211,fd00:100::211";
    let one = Service::new("bound-a").dual().annotation(key, "bound").annotation(ips, both);
    let one = Held::apply(lab, &one)?;
    let addresses = one.addresses(2)?;
    let other = Service::new("bound-b").annotation(key, "bound").annotation(ips, "192.168.100.211");
    let other = Held::any(lab, "bound-b", other.yaml().replace("port: 80,", "port: 81,"))?;
    ensure!(other.address()? == addresses[0], "it does not share");
    lab.wait_until("one list for both addresses", SOON, || {
        let lists = addresses.iter().map(|a| entry(lab, *a)).collect::<Result<Option<Vec<_>>>>()?;
        Ok(lists.filter(|l| l[0].owners == l[1].owners && l[0].owners.len() == 3).map(drop))
    })?;
    other.delete()?;
    one.delete()
}

fn spread(lab: &mut Lab) -> Result<()> {
    let pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\n\
                metadata: {name: wide, namespace: metallb-system}\n\
                spec: {addresses: [10.77.0.0/16], autoAssign: false}\n";
    let pool = Held::any(lab, "wide", pool.to_owned())?;
    let (before, begin) = (written(lab)?, Instant::now());
    let path = format!("/api/v1/namespaces/{WORKLOAD_NAMESPACE}/services");
    for number in 0..COUNT {
        lab.send("POST", &path, &wide(number))?;
    }
    let first = lab.wait_until("100 addresses on each node in the plans", LATER, || {
        let plans = plans(lab, "10.77.")?;
        let even = plans.len() == COUNT && owned(&plans).values().all(|count| *count == COUNT / 3);
        Ok(even.then_some(plans))
    })?;
    let took = begin.elapsed();
    let writes = written(lab)?.saturating_sub(before);
    let said = format!("{writes} writes of OwnerPlans for {COUNT} Services in {} ms", took.as_millis());
    println!("     {said}");
    // At most one plan each 100 ms, and each fills one object, sometimes the next one too.
    ensure!(u128::try_from(writes)? <= took.as_millis() / 50 + 10, "{said}");
    ensure!(first.values().all(|entry| entry.owners.len() == 3), "{first:?}");

    restart(lab)?;
    ensure!(plans(lab, "10.77.")? == first, "a restart of the controllers changed the plans");
    excluded(lab, &first)?;
    for number in 0..COUNT {
        lab.send("DELETE", &format!("{path}/wide-{number}"), &json!({}))?;
    }
    // Voters stay for as long as there is an L2Advertisement: the next address finds them.
    lab.wait_until("no OwnerPlan but that of voters", LATER, || {
        let names: Vec<_> = objects(lab)?.iter().map(|object| object["metadata"]["name"].clone()).collect();
        Ok((names == [json!("members-0")]).then_some(()))
    })?;
    pool.delete()
}

/// A Service of pool `wide`. Not by kubectl, which takes its time over hundreds.
fn wide(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("wide-{number}"), "annotations": {"metallb.io/address-pool": "wide"}},
        "spec": {
            "type": "LoadBalancer", "selector": {"app": "web"},
            "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"],
            "ports": [{"port": 80, "targetPort": 8080}],
        },
    })
}

/// How often OwnerPlans that exist now were written.
fn written(lab: &Lab) -> Result<i64> {
    Ok(objects(lab)?.iter().filter_map(|object| object["metadata"]["generation"].as_i64()).sum())
}

/// Kills all controllers and waits until another has planned something new.
fn restart(lab: &Lab) -> Result<()> {
    for node in lab.nodes() {
        node.machine()
            .processes("clarion-controller")
            .into_iter()
            .for_each(clarion_lab::process::ProcessId::kill);
    }
    let later = Held::apply(lab, &Service::new("planned-later"))?;
    let address = lab.wait_until("an address by a new controller", LATER, || {
        Ok(clarion_e2e::look::addresses(lab, "planned-later")?.first().copied())
    })?;
    lab.wait_until("a plan by a new controller", LATER, || Ok(entry(lab, address)?.map(drop)))?;
    later.delete()?;
    lab.wait_until("its end in the plans", SOON, || Ok(entry(lab, address)?.is_none().then_some(())))
}

fn excluded(lab: &Lab, first: &BTreeMap<String, Entry>) -> Result<()> {
    lab.kubectl(&["label", "node", "n3", &format!("{EXCLUDE}=")])?;
    let without = lab.wait_until("no address on n3", SOON, || {
        let plans = plans(lab, "10.77.")?;
        Ok((owned(&plans).values().sum::<usize>() == COUNT && !owned(&plans).contains_key("n3"))
            .then_some(plans))
    });
    lab.kubectl(&["label", "node", "n3", &format!("{EXCLUDE}-")])?;
    let without = without?;
    for (address, now) in &without {
        let before = &first[address];
        let kept = now.owners[0] == before.owners[0] && now.epoch == before.epoch;
        let handed_on =
            before.owners[0] == "n3" && now.owners[0] == before.owners[1] && now.epoch > before.epoch;
        ensure!(kept || handed_on, "{address}: {before:?} became {now:?}");
    }
    let returned = lab.wait_until("first addresses back on n3", LATER, || {
        let plans = plans(lab, "10.77.")?;
        Ok(owned(&plans).contains_key("n3").then_some(plans))
    })?;
    ensure!(owned(&returned)["n3"] <= 10, "not little by little: {:?}", owned(&returned));
    let moved = returned.iter().filter(|(address, now)| now.owners[0] != without[*address].owners[0]);
    ensure!(moved.count() == owned(&returned)["n3"], "others moved too: {:?}", owned(&returned));
    Ok(())
}
