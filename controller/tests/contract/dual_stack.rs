//! Families and policies (§2.6).

use crate::{Case, play};

pub(crate) const TABLES: &[&[Case]] = &[POLICIES, CHANGES];

const POLICIES: &[Case] = &[
    ("§2.6 one ClusterIP, IPv4", "pool a 192.0.2.0/24 2001:db8::/64; svc x", "x=192.0.2.0@a"),
    ("§2.6 one ClusterIP, IPv6", "pool a 192.0.2.0/24 2001:db8::/64; svc x v6", "x=2001:db8::@a"),
    ("§2.6 RequireDualStack", "pool a 192.0.2.0/24 2001:db8::/64; svc x both", "x=192.0.2.0+2001:db8::@a"),
    (
        "§2.6 RequireDualStack with one ClusterIP",
        "pool a 192.0.2.0/24 2001:db8::/64; svc x require1",
        "x=; x not enough clusterips: Service requires dual stack but not enough clusterips [10.96.0.1]",
    ),
    (
        "§2.6 RequireDualStack needs one pool with both",
        "pool a 192.0.2.0/24; pool b 2001:db8::/64; svc x both",
        "x=; x! no available IPs: no pool with both IPv4 and IPv6 addresses configured for it",
    ),
    (
        "§2.6 RequireDualStack skips single pools",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24 2001:db8::/64; svc x both",
        "x=198.51.100.0+2001:db8::@b",
    ),
    (
        "§2.6 RequireDualStack, one family full",
        "pool a 192.0.2.0/24 2001:db8::/128; svc x both; svc y both",
        "x=192.0.2.0+2001:db8::@a; y=; y! no available IPs",
    ),
    (
        "§2.6 PreferDualStack takes a pool with both",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24 2001:db8::/64; svc x prefer",
        "x=198.51.100.0+2001:db8::@b",
    ),
    (
        "§2.6 PreferDualStack, single pools: the first family",
        "pool a 2001:db8::/64; pool b 192.0.2.0/24; svc x prefer",
        "x=192.0.2.0@b; x AdditionalAssignFailed: cannot assign additional IP in PreferDualStack: no available IPs in pool b: no IPv6 addresses configured for it",
    ),
    (
        "§2.6 PreferDualStack, IPv6 first",
        "pool a 192.0.2.0/24; pool b 2001:db8::/64; svc x prefer6",
        "x=2001:db8::@b; x AdditionalAssignFailed: cannot assign additional IP in PreferDualStack: no available IPs in pool b: no IPv4 addresses configured for it",
    ),
    (
        "§2.6 PreferDualStack, only the other family",
        "pool a 2001:db8::/64; svc x prefer",
        "x=2001:db8::@a; x AdditionalAssignFailed: cannot assign additional IP in PreferDualStack: no available IPs in pool a: no IPv4 addresses configured for it",
    ),
    (
        "§2.6 PreferDualStack: a pool meant for it comes before one with both",
        "pool a 192.0.2.0/24 ns=ns; pool b 198.51.100.0/24 2001:db8::/64; svc x prefer",
        "x=192.0.2.0@a; x AdditionalAssignFailed: cannot assign additional IP in PreferDualStack: no available IPs in pool a: no IPv6 addresses configured for it",
    ),
    (
        "§2.6 PreferDualStack with one ClusterIP is one family (MetalLB adds one and takes it back)",
        "pool a 192.0.2.0/24 2001:db8::/64; svc x prefer1",
        "x=192.0.2.0@a",
    ),
    (
        "§2.6 a requested pool with both",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24 2001:db8::/64 manual; svc x both pool=b",
        "x=198.51.100.0+2001:db8::@b",
    ),
    (
        "§2.6 a requested pool with one, RequireDualStack",
        "pool a 192.0.2.0/24; svc x both pool=a",
        "x=; x! no available IPs in pool a: no pool with both IPv4 and IPv6 addresses configured for it",
    ),
    (
        "§2.6 IPv4 comes first in the status",
        "pool a 2001:db8::/64 192.0.2.0/24; svc x prefer6",
        "x=192.0.2.0+2001:db8::@a",
    ),
    (
        "§2.6 two ClusterIPs of a family",
        "pool a 192.0.2.0/24; svc x two4",
        r#"x=; x! IPFamilyForAddresses: same address family ["10.96.0.1" "10.96.0.2"]"#,
    ),
];

const CHANGES: &[Case] = &[
    (
        "§2.6 SingleStack → PreferDualStack: the second family is added",
        "pool a 192.0.2.0/24 2001:db8::/64; svc x; svc x prefer",
        r#"x=192.0.2.0+2001:db8::@a; x IPAllocated: Assigned additional IP "2001:db8::""#,
    ),
    (
        "§2.6 SingleStack → RequireDualStack: added as well",
        "pool a 192.0.2.0/24 2001:db8::/64; svc x; svc x both",
        r#"x=192.0.2.0+2001:db8::@a; x IPAllocated: Assigned additional IP "2001:db8::""#,
    ),
    (
        "§2.6 PreferDualStack → SingleStack: the one that is still needed stays",
        "pool a 192.0.2.0/24 2001:db8::/64; svc w; svc x prefer; del w; svc x",
        "x=192.0.2.1@a",
    ),
    (
        "§2.6 RequireDualStack → PreferDualStack: nothing changes",
        "pool a 192.0.2.0/24 2001:db8::/64; svc x both; svc x prefer",
        "x=192.0.2.0+2001:db8::@a",
    ),
    (
        "§2.6 PreferDualStack with one → RequireDualStack: lost (MetalLB's own test)",
        "pool a 192.0.2.0/24; svc x prefer; svc x both",
        "x=; x! no available IPs: no pool with both IPv4 and IPv6 addresses configured for it",
    ),
    (
        "§2.6 ... and back",
        "pool a 192.0.2.0/24; svc x prefer; svc x both; svc x prefer",
        "x=192.0.2.0@a; x AdditionalAssignFailed: cannot assign additional IP in PreferDualStack: no available IPs in pool a: no IPv6 addresses configured for it",
    ),
    (
        "§2.6 RequireDualStack moves to a pool with both",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24 2001:db8::/64; svc x; svc x both",
        "x=198.51.100.0+2001:db8::@b",
    ),
    (
        "§2.6 the pool gets the second family",
        "pool a 192.0.2.0/24; svc x prefer; pool a 192.0.2.0/24 2001:db8::/64",
        r#"x=192.0.2.0+2001:db8::@a; x IPAllocated: Assigned additional IP "2001:db8::""#,
    ),
    (
        "§2.6 another pool gets it: never jumps",
        "pool a 192.0.2.0/24; svc x prefer; pool b 198.51.100.0/24 2001:db8::/64",
        "x=192.0.2.0@a",
    ),
    (
        "§2.6 an address of the second family becomes free",
        "pool a 192.0.2.0/24 2001:db8::/128; svc w v6; svc x prefer; del w",
        r#"x=192.0.2.0+2001:db8::@a; x IPAllocated: Assigned additional IP "2001:db8::""#,
    ),
    (
        "§2.6 the pool loses a family: another with both (MetalLB's own test)",
        "pool a 192.0.2.0/24 2001:db8::/64; svc x prefer; pool b 198.51.100.0/24 2001:db8:b::/64; pool a 2001:db8::/64",
        r#"x=198.51.100.0+2001:db8:b::@b; x- ["192.0.2.0" "2001:db8::"] is not allowed in config"#,
    ),
    (
        "§2.6 the pool loses a family, no other has both: the rest stays (MetalLB: the lowest anew)",
        "pool a 192.0.2.0/24 2001:db8::/64; svc w prefer; svc x prefer; del w; pool a 2001:db8::/64",
        r#"x=2001:db8::1@a; x- ["192.0.2.1" "2001:db8::1"] is not allowed in config; x AdditionalAssignFailed: cannot assign additional IP in PreferDualStack: no available IPs in pool a: no IPv4 addresses configured for it"#,
    ),
    (
        "§2.6 the pool loses a family, RequireDualStack: both are cleared",
        "pool a 192.0.2.0/24 2001:db8::/64; svc x both; pool a 2001:db8::/64",
        r#"x=; x- ["192.0.2.0" "2001:db8::"] is not allowed in config; x! no available IPs: no pool with both IPv4 and IPv6 addresses configured for it"#,
    ),
    ("§2.6 IPv4 → IPv6", "pool a 192.0.2.0/24 2001:db8::/64; svc x; svc x v6", "x=2001:db8::@a"),
];

#[test]
fn policies_section_2_6() {
    play(POLICIES);
}

#[test]
fn policies_and_pools_that_change_section_2_6() {
    play(CHANGES);
}
