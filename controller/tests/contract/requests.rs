//! What a Service asks for: annotations, classes, addresses, pools (§2.1, §2.2, §2.3).

use crate::{Case, play};

pub(crate) const TABLES: &[&[Case]] = &[ANNOTATIONS, SELECTION, DESIRED, CHANGES, EXCLUDED];

const ANNOTATIONS: &[Case] = &[
    ("§2.1 address-pool", "pool a 192.0.2.0/24; pool b 198.51.100.0/24; svc x pool=b", "x=198.51.100.0@b"),
    (
        "§2.1 address-pool, deprecated",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24; svc x oldpool=b",
        "x=198.51.100.0@b; x deprecatedAnnotation: Service uses deprecated annotation metallb.universe.tf/address-pool",
    ),
    (
        "§2.1 the new prefix wins",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24; svc x pool=a oldpool=b",
        "x=192.0.2.0@a; x deprecatedAnnotation: Service uses deprecated annotation metallb.universe.tf/address-pool",
    ),
    (
        "§2.1 the new prefix wins, be it empty",
        "pool a 192.0.2.0/24; svc x ips= oldips=192.0.2.9",
        "x=192.0.2.0@a; x deprecatedAnnotation: Service uses deprecated annotation metallb.universe.tf/loadBalancerIPs",
    ),
    ("§2.1 address-pool, autoAssign=false", "pool a 192.0.2.0/24 manual; svc x pool=a", "x=192.0.2.0@a"),
    (
        "§2.1 address-pool changes: dropped, allocated anew",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24; svc x pool=a; svc x pool=b",
        "x=198.51.100.0@b",
    ),
    (
        "§2.1 address-pool goes: nothing moves",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24; svc x pool=b; svc x",
        "x=198.51.100.0@b",
    ),
    ("§2.1 loadBalancerIPs", "pool a 192.0.2.0/24; svc x ips=192.0.2.9", "x=192.0.2.9@a"),
    (
        "§2.1 loadBalancerIPs, two and blanks",
        "pool a 192.0.2.0/24 2001:db8::/64; svc x both ips=_2001:db8::9_,_192.0.2.9_",
        "x=192.0.2.9+2001:db8::9@a",
    ),
    (
        "§2.1 loadBalancerIPs, deprecated",
        "pool a 192.0.2.0/24; svc x oldips=192.0.2.9",
        "x=192.0.2.9@a; x deprecatedAnnotation: Service uses deprecated annotation metallb.universe.tf/loadBalancerIPs",
    ),
    (
        "§2.1 loadBalancerIPs, two of a family",
        "pool a 192.0.2.0/24; svc x ips=192.0.2.8,192.0.2.9",
        r#"x=; x! invalid metallb.io/loadBalancerIPs: ["192.0.2.8" "192.0.2.9"]: write one address, or one of each family"#,
    ),
    (
        "§2.1 allow-shared-ip, both prefixes meet",
        "pool a 192.0.2.0/32; svc x share=k; svc y oldshare=k ports=81",
        "x=192.0.2.0@a; y=192.0.2.0@a; y deprecatedAnnotation: Service uses deprecated annotation metallb.universe.tf/allow-shared-ip",
    ),
    (
        "§2.1 ip-allocated-from-pool goes with the address",
        "pool a 192.0.2.0/24; svc x; svc x pool=nope",
        r#"x=; x! unknown pool "nope""#,
    ),
    (
        "§2.1 ip-allocated-from-pool with the old prefix goes (#2642)",
        "pool a 192.0.2.0/24; svc x has=192.0.2.5 oldfrom=a",
        "x=192.0.2.5@a",
    ),
    (
        "§2.1 deprecated ones are mentioned when something is written only",
        "pool a 192.0.2.0/24; svc x oldpool=a; svc x oldpool=a label=k:v",
        "x=192.0.2.0@a",
    ),
    ("§2.1 ... nor after a restart", "pool a 192.0.2.0/24; svc x oldpool=a; restart", "x=192.0.2.0@a"),
    (
        "§2.1 labels and other annotations mean nothing",
        "pool a 192.0.2.0/24; svc x label=address-pool:b",
        "x=192.0.2.0@a",
    ),
];

const SELECTION: &[Case] = &[
    ("§2.2 another type", "pool a 192.0.2.0/24; svc x type=ClusterIP", "x="),
    ("§2.2 no class, no flag", "pool a 192.0.2.0/24; svc x", "x=192.0.2.0@a"),
    ("§2.2 a class, no flag", "pool a 192.0.2.0/24; svc x class=other.io/lb", "x="),
    ("§2.2 no class, the flag", "class=ours.io/lb; restart; pool a 192.0.2.0/24; svc x", "x="),
    (
        "§2.2 our class",
        "class=ours.io/lb; restart; pool a 192.0.2.0/24; svc x class=ours.io/lb; svc y class=other.io/lb",
        "x=192.0.2.0@a; y=",
    ),
    (
        "§2.2 the flag changes: what is no longer ours is left alone",
        "pool a 192.0.2.0/24; svc x; class=ours.io/lb; restart; svc y class=ours.io/lb",
        "x=192.0.2.0@a; y=192.0.2.0@a",
    ),
    (
        "§2.2 type changes: address and annotation go",
        "pool a 192.0.2.0/24; svc x; svc x type=ClusterIP",
        "x=",
    ),
    (
        "§2.2 type changes to and fro",
        "pool a 192.0.2.0/24; svc x; svc x type=NodePort; svc x",
        "x=192.0.2.0@a",
    ),
    (
        "§2.2 a former balancer is cleaned after a restart too",
        "pool a 192.0.2.0/24; svc x type=ClusterIP has=192.0.2.0 from=a; restart; svc y",
        "x=; y=192.0.2.0@a",
    ),
    (
        "§2.2 another's status of a Service that was never ours stays",
        "pool a 192.0.2.0/24; svc x type=ClusterIP has=203.0.113.1",
        "x=203.0.113.1",
    ),
    ("§2.2 no ClusterIP yet", "pool a 192.0.2.0/24; svc x none", "x="),
    ("§2.2 the ClusterIP comes", "pool a 192.0.2.0/24; svc x none; svc x", "x=192.0.2.0@a"),
    (
        "§2.2 clusterIP: None",
        "pool a 192.0.2.0/24; svc x headless",
        r#"x=; x! IPFamilyForAddresses: Invalid address ["None"]"#,
    ),
    (
        "§2.2 status has addresses alone: a host name is replaced",
        "pool a 192.0.2.0/24; svc x has=192.0.2.7 host",
        "x=192.0.2.7@a",
    ),
    (
        "§2.2 Services of any namespace",
        "pool a 192.0.2.0/24; svc red/x; svc blue/x",
        "blue/x=192.0.2.1@a; red/x=192.0.2.0@a",
    ),
];

const DESIRED: &[Case] = &[
    ("§2.3.1 spec.loadBalancerIP", "pool a 192.0.2.0/24; svc x ip=192.0.2.9", "x=192.0.2.9@a"),
    (
        "§2.3.1 both, nothing held",
        "pool a 192.0.2.0/24; svc x ip=192.0.2.9 ips=192.0.2.9",
        "x=; x! service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP",
    ),
    (
        "§2.3.1 both, already allocated: kept",
        "pool a 192.0.2.0/24; svc x ip=192.0.2.9; svc x ip=192.0.2.9 ips=192.0.2.8",
        "x=192.0.2.9@a; x LoadBalancerFailed: invalid requested loadbalancer IPs: service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP",
    ),
    (
        "§2.3.1 garbage in the spec",
        "pool a 192.0.2.0/24; svc x ip=web.example",
        r#"x=; x! invalid spec.loadBalancerIP "web.example""#,
    ),
    (
        "§2.3.1 garbage in the annotation",
        "pool a 192.0.2.0/24; svc x ips=192.0.2.9,",
        r#"x=; x! invalid metallb.io/loadBalancerIPs: "192.0.2.9,""#,
    ),
    (
        "§2.3.2 the wrong family",
        "pool a 192.0.2.0/24 2001:db8::/64; svc x ip=2001:db8::9",
        r#"x=; x! requested loadBalancer IP(s) ["2001:db8::9"] does not match the ipFamily of the service"#,
    ),
    (
        "§2.3.2 one address for RequireDualStack",
        "pool a 192.0.2.0/24 2001:db8::/64; svc x both ip=192.0.2.9",
        r#"x=; x! requested loadBalancer IP(s) ["192.0.2.9"] does not match the ipFamily of the service"#,
    ),
    (
        "§2.3.2 one address for PreferDualStack",
        "pool a 192.0.2.0/24 2001:db8::/64; svc x prefer ips=192.0.2.9",
        r#"x=; x! requested loadBalancer IP(s) ["192.0.2.9"] does not match the ipFamily of the service"#,
    ),
    (
        "§2.3.2 two addresses for one family",
        "pool a 192.0.2.0/24 2001:db8::/64; svc x ips=192.0.2.9,2001:db8::9",
        r#"x=; x! requested loadBalancer IP(s) ["192.0.2.9" "2001:db8::9"] does not match the ipFamily of the service"#,
    ),
    (
        "§2.3.2 both for PreferDualStack",
        "pool a 192.0.2.0/24 2001:db8::/64; svc x prefer ips=192.0.2.9,2001:db8::9",
        "x=192.0.2.9+2001:db8::9@a",
    ),
    (
        "§2.3.3 in no pool",
        "pool a 192.0.2.0/24; svc x ip=203.0.113.1",
        r#"x=; x! ["203.0.113.1"] is not allowed in config"#,
    ),
    (
        "§2.3.3 in a pool for others",
        "pool a 192.0.2.0/24 ns=red; svc x ip=192.0.2.9",
        "x=; x! pool a not compatible for ip assignment",
    ),
    ("§2.3.3 autoAssign does not matter", "pool a 192.0.2.0/24 manual; svc x ip=192.0.2.9", "x=192.0.2.9@a"),
    (
        "§2.3.3 of two pools",
        "pool a 192.0.2.0/24; pool b 2001:db8::/64; svc x both ips=192.0.2.9,2001:db8::9",
        r#"x=; x! ["192.0.2.9" "2001:db8::9"] is not allowed in config: they are of two pools, and a service gets both of one"#,
    ),
    (
        "§1.1 avoidBuggyIPs rejects .0 and .255 on request too",
        "pool a 192.0.2.0/24 avoid; svc x ip=192.0.2.255",
        r#"x=; x! ["192.0.2.255"] is not allowed in config: pool a leaves 192.0.2.255 out, for it has avoidBuggyIPs"#,
    ),
    ("§1.1 avoidBuggyIPs skips .0", "pool a 192.0.2.0/24 avoid; svc x", "x=192.0.2.1@a"),
    ("§1.1 avoidBuggyIPs skips .255 and .0", "pool a 192.0.2.255-192.0.3.1 avoid; svc x", "x=192.0.3.1@a"),
    ("§1.1 avoidBuggyIPs leaves IPv6 alone", "pool a 2001:db8::/64 avoid; svc x v6", "x=2001:db8::@a"),
    ("§2.3.4 address and pool agree", "pool a 192.0.2.0/24; svc x ip=192.0.2.9 pool=a", "x=192.0.2.9@a"),
    (
        "§2.3.4 address and pool do not agree",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24; svc x ip=192.0.2.9 pool=b",
        r#"x=; x! requested loadBalancer IP(s) ["192.0.2.9"] is not compatible with requested address pool b"#,
    ),
    ("§2.3.5 unknown pool", "pool a 192.0.2.0/24; svc x pool=b", r#"x=; x! unknown pool "b""#),
    (
        "§2.3.5 a full pool",
        "pool a 192.0.2.0/32; pool b 198.51.100.0/24; svc x; svc y pool=a",
        "x=192.0.2.0@a; y=; y! no available IPs in pool a",
    ),
    (
        "§2.3.5 a pool without the family",
        "pool a 192.0.2.0/24; svc x v6 pool=a",
        "x=; x! no available IPs in pool a: no IPv6 addresses configured for it",
    ),
    (
        "§2.3.5 a pool for others",
        "pool a 192.0.2.0/24 ns=red; svc x pool=a",
        "x=; x! pool a not compatible for ip assignment",
    ),
    (
        "§2.3 an address that another has",
        "pool a 192.0.2.0/24; svc x; svc y ip=192.0.2.0",
        r#"x=192.0.2.0@a; y=; y! can't change sharing key for "ns/y", address also in use by ns/x: 192.0.2.0: existing service does not allow sharing (metallb.io/allow-shared-ip)"#,
    ),
];

const CHANGES: &[Case] = &[
    ("§2.3 another address", "pool a 192.0.2.0/24; svc x ip=192.0.2.9; svc x ip=192.0.2.8", "x=192.0.2.8@a"),
    ("§2.3 the wish for an address goes", "pool a 192.0.2.0/24; svc x ip=192.0.2.9; svc x", "x=192.0.2.9@a"),
    (
        "§2.3 another address that is not to be had: left without",
        "pool a 192.0.2.0/24; svc x ip=192.0.2.9; svc x ip=203.0.113.1",
        r#"x=; x! ["203.0.113.1"] is not allowed in config"#,
    ),
    (
        "§2.3 the old address is free at once",
        "pool a 192.0.2.0/32; svc x; svc y; svc x ip=203.0.113.1",
        r#"x=; y=192.0.2.0@a; x! ["203.0.113.1"] is not allowed in config"#,
    ),
    ("§2.3 back to what is possible", "pool a 192.0.2.0/24; svc x ip=203.0.113.1; svc x", "x=192.0.2.0@a"),
    (
        "§2.3 two that change places",
        "pool a 192.0.2.0/31; svc x ip=192.0.2.0; svc y ip=192.0.2.1; svc x ip=192.0.2.1; svc y ip=192.0.2.0",
        "x=192.0.2.1@a; y=192.0.2.0@a",
    ),
    (
        "§2.3 garbage while one is held: kept, and said once",
        "pool a 192.0.2.0/24; svc x ip=192.0.2.9; svc x ip=junk; svc x ip=junk label=k:v",
        "x=192.0.2.9@a",
    ),
    ("§2.7 a refusal is said once", "pool a 192.0.2.0/24; svc x pool=b; svc x pool=b label=k:v", "x="),
];

const EXCLUDED: &[Case] = &[
    ("§1.1+ excludeAddresses, automatic", "pool a 192.0.2.0/24 not=192.0.2.0/30; svc x", "x=192.0.2.4@a"),
    ("§1.1+ excludeAddresses, a bare address", "pool a 192.0.2.0/24 not=192.0.2.0; svc x", "x=192.0.2.1@a"),
    (
        "§1.1+ excludeAddresses, a range",
        "pool a 192.0.2.0/24 not=192.0.2.0-192.0.2.9; svc x",
        "x=192.0.2.10@a",
    ),
    (
        "§1.1+ excludeAddresses, a hole",
        "pool a 192.0.2.0/30 not=192.0.2.1; svc x; svc y",
        "x=192.0.2.0@a; y=192.0.2.2@a",
    ),
    (
        "§1.1+ excludeAddresses on request",
        "pool a 192.0.2.0/24 not=192.0.2.9; svc x ip=192.0.2.9",
        r#"x=; x! ["192.0.2.9"] is not allowed in config: pool a has 192.0.2.9 in its excludeAddresses"#,
    ),
    (
        "§1.1+ excluded under a Service: as when the pool shrinks",
        "pool a 192.0.2.0/24; svc x; pool a 192.0.2.0/24 not=192.0.2.0",
        r#"x=192.0.2.1@a; x- ["192.0.2.0"] is not allowed in config: pool a has 192.0.2.0 in its excludeAddresses"#,
    ),
    (
        "§1.1+ no longer excluded",
        "pool a 192.0.2.0/32 not=192.0.2.0; svc x; pool a 192.0.2.0/32",
        "x=192.0.2.0@a",
    ),
    (
        "§1.1+ all of it excluded",
        "pool a 192.0.2.0/30 not=192.0.2.0/24; svc x",
        "x=; x! no available IPs: no IPv4 addresses configured for it",
    ),
];

#[test]
fn annotations_section_2_1() {
    play(ANNOTATIONS);
}

#[test]
fn which_services_are_ours_section_2_2() {
    play(SELECTION);
}

#[test]
fn desired_addresses_and_pools_section_2_3() {
    play(DESIRED);
}

#[test]
fn changed_wishes_section_2_3() {
    play(CHANGES);
}

#[test]
fn excluded_addresses_section_1_1() {
    play(EXCLUDED);
}
