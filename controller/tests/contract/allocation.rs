//! Which pool an automatic address is from: autoAssign, serviceAllocation, order (§2.3 rule 6, §2.4).

use crate::{Case, play};

pub(crate) const TABLES: &[&[Case]] = &[ORDER, ALLOCATION];

const ORDER: &[Case] = &[
    ("§2.3.6 the lowest address", "pool a 192.0.2.8/29; svc x; svc y", "x=192.0.2.8@a; y=192.0.2.9@a"),
    (
        "§2.3.6 a freed one is the lowest again",
        "pool a 192.0.2.0/24; svc x; svc y; del x; svc z",
        "y=192.0.2.1@a; z=192.0.2.0@a",
    ),
    (
        "§2.3.6 ranges as written",
        "pool a 198.51.100.9/32 192.0.2.0/24; svc x; svc y",
        "x=198.51.100.9@a; y=192.0.2.0@a",
    ),
    (
        "§2.3.6 a range with blanks inside is no two ranges",
        "pool a 192.0.2.3-192.0.2.4; svc x; svc y; svc z",
        "x=192.0.2.3@a; y=192.0.2.4@a; z=; z! no available IPs",
    ),
    (
        "§2.3.6 the next pool when one is full",
        "pool a 192.0.2.0/32; pool b 198.51.100.0/24; svc x; svc y",
        "x=192.0.2.0@a; y=198.51.100.0@b",
    ),
    (
        "§2.3.6 autoAssign=false",
        "pool a 192.0.2.0/24 manual; pool b 198.51.100.0/24; svc x",
        "x=198.51.100.0@b",
    ),
    (
        "§2.3.6 nothing but autoAssign=false",
        "pool a 192.0.2.0/24 manual; svc x",
        "x=; x! no available IPs: no pool with autoAssign is for this service; see serviceAllocation of the pools, or ask for one by metallb.io/address-pool",
    ),
    ("§2.3.6 no pools at all", "svc x", "x=; x! no available IPs: there is no IPAddressPool"),
    ("§2.3.6 all full", "pool a 192.0.2.0/32; svc x; svc y", "x=192.0.2.0@a; y=; y! no available IPs"),
    (
        "§2.3.6 no such family",
        "pool a 192.0.2.0/24; svc x v6",
        "x=; x! no available IPs: no IPv6 addresses configured for it",
    ),
    (
        "§2.3.6 pinned pools first",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24 ns=ns; svc x",
        "x=198.51.100.0@b",
    ),
    (
        "§2.3.6 priority 1 is best",
        "pool a 192.0.2.0/24 prio=2; pool b 198.51.100.0/24 prio=1; svc x",
        "x=198.51.100.0@b",
    ),
    (
        "§2.3.6 priority 0 is last",
        "pool a 192.0.2.0/24 prio=0; pool b 198.51.100.0/24 prio=50; svc x",
        "x=198.51.100.0@b",
    ),
    (
        "§2.3.6 no priority is last too",
        "pool a 192.0.2.0/24 ns=ns; pool b 198.51.100.0/24 ns=ns prio=50; svc x",
        "x=198.51.100.0@b",
    ),
    (
        "§2.3.6 the next priority when one is full",
        "pool a 192.0.2.0/24 prio=2; pool b 198.51.100.0/32 prio=1; svc x; svc y",
        "x=198.51.100.0@b; y=192.0.2.0@a",
    ),
    (
        "§2.3.6 then those for everybody",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/32 ns=ns; svc x; svc y",
        "x=198.51.100.0@b; y=192.0.2.0@a",
    ),
    (
        "§2.3.6 a pinned pool with autoAssign=false",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24 ns=ns manual; svc x",
        "x=192.0.2.0@a",
    ),
    (
        "§2.3.6 a tie goes by name",
        "pool b 198.51.100.0/24 prio=1; pool a 192.0.2.0/24 prio=1; svc x",
        "x=192.0.2.0@a",
    ),
];

const ALLOCATION: &[Case] = &[
    ("§2.4 namespaces", "pool a 192.0.2.0/24 ns=red; svc red/x", "red/x=192.0.2.0@a"),
    (
        "§2.4 another namespace",
        "pool a 192.0.2.0/24 ns=red; svc blue/x",
        "blue/x=; blue/x! no available IPs: no pool with autoAssign is for this service; see serviceAllocation of the pools, or ask for one by metallb.io/address-pool",
    ),
    ("§2.4 one of several namespaces", "pool a 192.0.2.0/24 ns=red,blue; svc blue/x", "blue/x=192.0.2.0@a"),
    (
        "§2.4 namespaceSelectors",
        "ns red team:x; pool a 192.0.2.0/24 nssel=team:x; svc red/x",
        "red/x=192.0.2.0@a",
    ),
    (
        "§2.4 any of the namespaceSelectors",
        "ns red team:y; pool a 192.0.2.0/24 nssel=team:x,team:y; svc red/x",
        "red/x=192.0.2.0@a",
    ),
    (
        "§2.4 namespaces and namespaceSelectors are a union",
        "ns red team:x; pool a 192.0.2.0/24 ns=blue nssel=team:x; svc red/x; svc blue/x",
        "blue/x=192.0.2.1@a; red/x=192.0.2.0@a",
    ),
    (
        "§2.4 serviceSelectors",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24 svcsel=tier:web; svc x label=tier:web; svc y",
        "x=198.51.100.0@b; y=192.0.2.0@a",
    ),
    (
        "§2.4 any of the serviceSelectors",
        "pool b 198.51.100.0/24 svcsel=tier:web,tier:db; svc x label=tier:db",
        "x=198.51.100.0@b",
    ),
    (
        "§2.4 namespace AND serviceSelectors",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24 ns=red svcsel=tier:web; svc red/x; svc red/y label=tier:web; svc z label=tier:web",
        "z=192.0.2.1@a; red/x=192.0.2.0@a; red/y=198.51.100.0@b",
    ),
    (
        "§2.4 serviceAllocation: {} is for everybody, and first",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24 for; svc x",
        "x=198.51.100.0@b",
    ),
    (
        "§2.4 priority alone is for everybody, and first",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24 prio=7; svc x",
        "x=198.51.100.0@b",
    ),
    (
        "§2.4 a namespaceSelector that matches nothing allows nobody, on request too (MetalLB: everybody)",
        "pool a 192.0.2.0/24 nssel=team:x; svc x ip=192.0.2.9",
        "x=; x! pool a not compatible for ip assignment",
    ),
    (
        "§2.4 a namespace gets its label",
        "ns red team:y; pool a 192.0.2.0/24 nssel=team:x; svc red/x; ns red team:x",
        "red/x=192.0.2.0@a",
    ),
    (
        "§2.4 a namespace loses its label",
        "ns red team:x; pool a 192.0.2.0/24 nssel=team:x; svc red/x; ns red team:y",
        "red/x=; red/x- pool a not compatible for ip assignment; red/x! no available IPs: no pool with autoAssign is for this service; see serviceAllocation of the pools, or ask for one by metallb.io/address-pool",
    ),
    (
        "§2.4 a Service loses its label",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24 svcsel=tier:web; svc x label=tier:web; svc x",
        "x=192.0.2.0@a; x- pool b not compatible for ip assignment",
    ),
    (
        "§2.4 the pool is for others from now on",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24; svc x; pool a 192.0.2.0/24 ns=red",
        "x=198.51.100.0@b; x- pool a not compatible for ip assignment",
    ),
    (
        "§2.4 the pool is for it from now on",
        "pool a 192.0.2.0/24 ns=red; svc x; pool a 192.0.2.0/24 ns=red,ns",
        "x=192.0.2.0@a",
    ),
    (
        "§2.4 a better pool comes: nobody moves",
        "pool a 192.0.2.0/24; svc x; pool b 198.51.100.0/24 ns=ns prio=1",
        "x=192.0.2.0@a",
    ),
];

#[test]
fn pools_are_tried_in_the_order_of_section_2_3() {
    play(ORDER);
}

#[test]
fn service_allocation_section_2_4() {
    play(ALLOCATION);
}
