//! What only the set of objects shows to be wrong: refused by the API server where the policies
//! are, set aside by the controller where they are not.

use anyhow::{Context, Result, ensure};
use clarion_e2e::harness::Case;
use clarion_e2e::look::{Held, SOON, WithoutPolicies, condition, try_create};
use clarion_lab::Lab;
use clarion_lab::tools::manifests;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub(crate) const CASES: &[Case] = &[
    ("a pool that overlaps another one is refused and the other is named", overlaps),
    ("an object that contradicts another one is refused and the other is named", contradictions),
    ("an object outside the configuration namespace is refused", elsewhere),
    ("a BFDProfile in use cannot be deleted, and can once it is not", bfd_in_use),
    ("two pools that overlap already can be mended step by step", mended),
    ("a pool is applied beside a hundred others", hundred),
    ("the guide's three pools: the first is accepted, the others are told why not", guide),
    ("without policies the younger pools of the guide are set aside, and told once", guide_slips_in),
    ("a pool that holds a reserved network is in force and told so", reserved),
];

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
    json!({
        "apiVersion": format!("metallb.io/{version}"), "kind": kind,
        "metadata": {"name": name, "namespace": "metallb-system"}, "spec": spec,
    })
}

fn pool(name: &str, addresses: &[&str]) -> Value {
    object("IPAddressPool", name, &json!({"addresses": addresses}))
}

fn held<'a>(lab: &'a Lab, object: &Value) -> Result<Held<'a>> {
    Held::any(lab, "an object", object.to_string())
}

/// Waits until the API server refuses the object: it judges by caches, which are a moment behind.
fn refused(lab: &Lab, object: &Value, words: &str) -> Result<()> {
    let told = lab.wait_until(&format!("refused: {object}"), SOON, || {
        Ok(try_create(lab, object).err().map(|error| format!("{error:#}")))
    })?;
    ensure!(told.contains(words), "{object}\nwanted {words}\ntold {told}");
    Ok(())
}

fn peer(address: &str, port: u16) -> Value {
    json!({"myASN": 64512, "peerASN": 64999, "peerAddress": address, "peerPort": port})
}

fn aliases(names: &[&str]) -> Value {
    let alias = |name: &&str| json!({"name": name, "value": "65000:1"});
    json!({"communities": names.iter().map(alias).collect::<Vec<_>>()})
}

/// Lengths that no other advertisement of the lab has: another local preference is no conflict with those.
fn advertisement(name: &str, spec: &Value) -> Value {
    let mut whole = json!({"aggregationLength": 30, "aggregationLengthV6": 126});
    if let (Some(whole), Some(spec)) = (whole.as_object_mut(), spec.as_object()) {
        whole.extend(spec.clone());
    }
    object("BGPAdvertisement", name, &whole)
}

/// What the objects of the next tests are in the way of.
fn there(lab: &Lab) -> Result<Vec<Held<'_>>> {
    let mine = json!({"localPref": 100, "ipAddressPools": ["nobody"], "peers": ["there"]});
    let addresses = ["10.9.1.0/24", "10.9.2.10-10.9.2.20", "2001:db8:9::/64", "2001:db8:a::5-2001:db8:a::ff"];
    let all = [
        pool("there", &addresses),
        object("Community", "there", &aliases(&["there-web", "there-db"])),
        object("BGPPeer", "there", &peer("192.0.2.200", 1790)),
        advertisement("there", &mine),
        advertisement("short", &json!({"ipAddressPools": ["narrow"], "aggregationLength": 26})),
    ];
    all.iter().map(|object| held(lab, object)).collect()
}

fn overlaps(lab: &mut Lab) -> Result<()> {
    let held = there(lab)?;
    for (entry, other) in [
        ("10.9.1.0/24", "10.9.1.0/24"),
        ("10.9.1.7/32", "10.9.1.0/24"),
        ("10.9.0.0/16", "10.9.1.0/24"),
        ("10.9.1.250-10.9.2.5", "10.9.1.0/24"),
        ("10.9.2.16/28", "10.9.2.10-10.9.2.20"),
        ("10.9.2.20-10.9.2.20", "10.9.2.10-10.9.2.20"),
        ("10.9.2.0 - 10.9.2.255", "10.9.2.10-10.9.2.20"),
        ("2001:db8:9:0:ffff::/80", "2001:db8:9::/64"),
        ("2001:0DB8:a::-2001:db8:A::5", "2001:db8:a::5-2001:db8:a::ff"),
        ("2001:db8:a::80/128", "2001:db8:a::5-2001:db8:a::ff"),
    ] {
        let words = format!(
            "CIDR \"{entry}\" in pool \"new\" overlaps with already defined CIDR \"{other}\" of pool \"there\": remove the addresses from one of them"
        );
        refused(lab, &pool("new", &[entry]), &words)?;
    }
    let beside = [
        "10.9.3.0/24",
        "10.9.2.0-10.9.2.9",
        "10.9.2.21/32",
        "2001:db8:9:1::/64",
        "2001:db8:a::-2001:db8:a::4",
    ];
    try_create(lab, &pool("new", &beside))?;
    changed(lab, &pool("there", &["10.9.1.0/25"]))?;
    held.into_iter().try_for_each(Held::delete)
}

/// What the API server says to a change of an object, without making it.
fn changed(lab: &Lab, object: &Value) -> Result<()> {
    lab.kubectl_stdin(&["apply", "--dry-run=server", "-f", "-"], &object.to_string()).map(drop)
}

fn contradictions(lab: &mut Lab) -> Result<()> {
    let held = there(lab)?;
    for (object, words) in [
        (
            object("Community", "new", &aliases(&["other", "there-db"])),
            "duplicate definition of community \"there-db\": Community \"there\" defines it already",
        ),
        (
            object("BGPPeer", "new", &peer("192.0.2.200", 1790)),
            "peer new already exists: BGPPeer \"there\" configures the same session",
        ),
        (
            advertisement("new", &json!({"localPref": 200, "ipAddressPools": ["other", "nobody"]})),
            "invalid local preference 200: local preference 100 was already set for the same type of BGP update by BGPAdvertisement \"there\"",
        ),
        (
            advertisement("new", &json!({"ipAddressPools": ["there"], "aggregationLength": 23})),
            "invalid aggregation length 23: prefix 24 in this pool is more specific than the aggregation length for addresses 10.9.1.0/24 of pool there",
        ),
        (
            pool("narrow", &["10.9.7.0/28"]),
            "invalid aggregation length 26: prefix 28 in this pool is more specific than the aggregation length for addresses 10.9.7.0/28: BGPAdvertisement \"short\" selects the pool",
        ),
    ] {
        refused(lab, &object, words)?;
    }
    for fine in [
        object("Community", "new", &aliases(&["web", "db"])),
        object("BGPPeer", "new", &peer("192.0.2.200", 1791)),
        object("BGPPeer", "new", &peer("192.0.2.201", 1790)),
        advertisement("new", &json!({"localPref": 100, "ipAddressPools": ["nobody"]})),
        advertisement("new", &json!({"localPref": 200, "ipAddressPools": ["somebody"]})),
        advertisement("new", &json!({"localPref": 200, "ipAddressPools": ["nobody"], "peers": ["other"]})),
        advertisement(
            "new",
            &json!({"localPref": 200, "ipAddressPools": ["nobody"], "aggregationLength": 29}),
        ),
        advertisement("new", &json!({"localPref": 200, "ipAddressPools": ["nobody"], "nodeSelectors": [{}]})),
        pool("narrow", &["10.9.7.0/26"]),
    ] {
        try_create(lab, &fine)?;
    }
    changed(lab, &object("Community", "there", &aliases(&["there-web"])))?;
    changed(lab, &object("BGPPeer", "there", &peer("192.0.2.200", 1790)))?;
    held.into_iter().try_for_each(Held::delete)
}

fn elsewhere(lab: &mut Lab) -> Result<()> {
    let peer = json!({"myASN": 64512, "peerASN": 64999, "peerAddress": "192.0.2.200"});
    for (kind, spec) in [
        ("IPAddressPool", json!({"addresses": ["10.9.1.0/24"]})),
        ("L2Advertisement", json!({})),
        ("BGPAdvertisement", json!({})),
        ("BGPPeer", peer),
        ("BFDProfile", json!({})),
        ("Community", json!({})),
    ] {
        let mut object = object(kind, "elsewhere", &spec);
        object["metadata"]["namespace"] = json!("default");
        refused(lab, &object, "resource must be created in metallb-system namespace")?;
    }
    Ok(())
}

fn bfd_in_use(lab: &mut Lab) -> Result<()> {
    let profile = held(lab, &object("BFDProfile", "used", &json!({})))?;
    let spec = json!({"myASN": 64512, "peerASN": 64999, "peerAddress": "192.0.2.200", "bfdProfile": "used"});
    let peer = held(lab, &object("BGPPeer", "user", &spec))?;
    let path = "/apis/metallb.io/v1beta1/namespaces/metallb-system/bfdprofiles/used";
    let told = lab.wait_until("the deletion refused", SOON, || {
        Ok(lab.send("DELETE", &format!("{path}?dryRun=All"), &json!({})).err())
    })?;
    let told = format!("{told:#}");
    ensure!(told.contains("failed to delete BFDProfile used, used by BGPPeer user"), "{told}");
    peer.delete()?;
    lab.wait_until("the deletion accepted", SOON, || Ok(lab.send("DELETE", path, &json!({})).ok()))?;
    drop(profile);
    Ok(())
}

fn mended(lab: &mut Lab) -> Result<()> {
    let slips_in = WithoutPolicies::new(lab)?;
    let first = held(lab, &pool("first", &["10.9.1.0/24"]))?;
    let second = held(lab, &pool("second", &["10.9.1.0/24", "10.9.2.0/24"]))?;
    drop(slips_in);
    refused(lab, &pool("third", &["10.9.1.0/25"]), "overlaps with already defined CIDR")?;
    // Labels, a smaller overlap, none.
    lab.kubectl(&["-n", "metallb-system", "label", "ipaddresspool", "second", "tier=gold"])?;
    lab.apply(&pool("second", &["10.9.1.128/25", "10.9.2.0/24"]).to_string())?;
    lab.apply(&pool("second", &["10.9.2.0/24"]).to_string())?;
    lab.wait_until("the mended pool in force", SOON, || {
        Ok(condition(lab, "ipaddresspools", "second", "Valid")?.filter(|(status, _)| status == "True"))
    })?;
    // From now on it may not begin again.
    let again = lab.wait_until("the overlap refused", SOON, || {
        Ok(lab
            .kubectl_stdin(
                &["apply", "--dry-run=server", "-f", "-"],
                &pool("second", &["10.9.1.0/25"]).to_string(),
            )
            .err())
    })?;
    ensure!(format!("{again:#}").contains("of pool \"first\""), "{again:#}");
    second.delete()?;
    first.delete()
}

fn hundred(lab: &mut Lab) -> Result<()> {
    let pools = (0..100).map(|i| {
        let addresses =
            [format!("10.20.{i}.0/24"), format!("10.21.{i}.10-10.21.{i}.99"), format!("2001:db8:{i:x}::/64")];
        pool(&format!("h{i}"), &addresses.each_ref().map(String::as_str))
    });
    let all = json!({"apiVersion": "v1", "kind": "List", "items": pools.collect::<Vec<_>>()});
    let all = held(lab, &all)?;
    refused(lab, &pool("new", &["10.21.99.99/32"]), "of pool \"h99\"")?;
    let mut times = Vec::new();
    for _ in 0..10 {
        let begin = Instant::now();
        try_create(lab, &pool("new", &["10.22.0.0/16", "10.23.0.1-10.23.0.9"]))?;
        times.push(begin.elapsed());
    }
    times.sort();
    println!("     a pool beside 100 others: median {:?}, longest {:?}", times[5], times[9]);
    all.delete()
}

/// The pools of a published guide, as they are printed there.
fn guide_pools() -> Result<String> {
    let file = manifests()?.join("../common/api/tests/fixtures/accept/guide-pools.yaml");
    std::fs::read_to_string(&file).with_context(|| file.display().to_string())
}

const YOUNGER: [&str; 2] = ["ingress-pool", "internal-services-pool"];

fn in_force(lab: &Lab, name: &str) -> Result<()> {
    lab.wait_until(&format!("pool {name} in force"), SOON, || {
        Ok(condition(lab, "ipaddresspools", name, "Valid")?.filter(|(status, _)| status == "True").map(drop))
    })
}

fn guide(lab: &mut Lab) -> Result<()> {
    let pools = guide_pools()?;
    let told = lab.apply(&pools).err().map(|error| format!("{error:#}")).unwrap_or_default();
    in_force(lab, "production-pool")?;
    for name in YOUNGER {
        // Refused, or, where the API server's caches were behind, set aside.
        let slipped_in = condition_of(lab, name)?;
        let told = slipped_in.as_ref().unwrap_or(&told);
        for words in
            [name, "overlaps with already defined CIDR", "192.168.1.200-192.168.1.250", "production-pool"]
        {
            ensure!(told.contains(words), "{name} is not told {words:?}: {told}");
        }
    }
    lab.delete(&pools).map(drop)
}

/// What a pool that exists is told; `None` if there is no such pool.
fn condition_of(lab: &Lab, name: &str) -> Result<Option<String>> {
    let path = format!("/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools/{name}");
    if lab.get(&path)?.is_none() {
        return Ok(None);
    }
    let told = lab.wait_until(&format!("pool {name} set aside"), SOON, || {
        Ok(condition(lab, "ipaddresspools", name, "Valid")?.filter(|(status, _)| status == "False"))
    })?;
    Ok(Some(format!("{name}: {}", told.1)))
}

fn guide_slips_in(lab: &mut Lab) -> Result<()> {
    let slips_in = WithoutPolicies::new(lab)?;
    let pools = guide_pools()?;
    let held = Held::any(lab, "the guide's pools", pools.clone())?;
    in_force(lab, "production-pool")?;
    for name in YOUNGER {
        let told = condition_of(lab, name)?.with_context(|| format!("{name} was refused"))?;
        for words in [
            "overlaps with already defined CIDR \"192.168.1.200-192.168.1.250\" of pool \"production-pool\"",
            "remove the addresses",
        ] {
            ensure!(told.contains(words), "{name} is not told {words:?}: {told}");
        }
        let events = lab.wait_until("the event", SOON, || {
            Ok(Some(lab.events("metallb-system", "IPAddressPool", name)?).filter(|all| !all.is_empty()))
        })?;
        ensure!(events.len() == 1 && events[0].0 == "ConfigurationError", "{name}: {events:?}");
    }
    let state = "/apis/metallb.io/v1beta1/namespaces/metallb-system/configurationstates/controller";
    lab.wait_until("both in ConfigurationState", SOON, || {
        let state = lab.get(state)?.unwrap_or_default();
        let summary = state["status"]["errorSummary"].as_str().unwrap_or_default();
        Ok(YOUNGER.iter().all(|name| summary.contains(name)).then_some(()))
    })?;
    // A change that concerns neither: nothing is told again, and the same one stays in force.
    let other = held_for_a_moment(lab)?;
    for name in YOUNGER {
        let events = lab.events("metallb-system", "IPAddressPool", name)?;
        ensure!(events.len() == 1, "{name} was told again: {events:?}");
    }
    in_force(lab, "production-pool")?;
    drop((other, slips_in));
    held.delete()
}

fn held_for_a_moment(lab: &Lab) -> Result<Held<'_>> {
    let other = held(lab, &pool("a-other", &["10.9.9.0/24"]))?;
    in_force(lab, "a-other")?;
    Ok(other)
}

fn reserved(lab: &mut Lab) -> Result<()> {
    let held = held(lab, &pool("odd", &["240.0.0.0/30", "126.255.255.254-127.0.0.1"]))?;
    in_force(lab, "odd")?;
    let (status, message) =
        lab.wait_until("the remark", SOON, || condition(lab, "ipaddresspools", "odd", "AddressesUsable"))?;
    ensure!(status == "False", "{status}");
    for words in ["127.0.0.0/8 (loopback)", "240.0.0.0/4 are reserved for future use"] {
        ensure!(message.contains(words), "no {words:?} in {message}");
    }
    lab.apply(&pool("odd", &["10.9.8.0/24"]).to_string())?;
    lab.wait_until("no remark", Duration::from_secs(20), || {
        Ok(condition(lab, "ipaddresspools", "odd", "AddressesUsable")?.is_none().then_some(()))
    })?;
    held.delete()
}
