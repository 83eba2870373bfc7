//! Who keeps what: restarts, pools that change under Services, freed addresses (§2.7).

use crate::{Case, play};

pub(crate) const TABLES: &[&[Case]] = &[RESTARTS, POOLS, FREED];

const RESTARTS: &[Case] = &[
    (
        "§2.7 the same address after a restart",
        "pool a 192.0.2.0/24; svc w; svc x; del w; restart",
        "x=192.0.2.1@a",
    ),
    (
        "§2.7 assigned ones first",
        "pool a 192.0.2.0/24; svc zzz has=192.0.2.0 from=a; svc aaa; restart",
        "aaa=192.0.2.1@a; zzz=192.0.2.0@a",
    ),
    ("§2.7 without the annotation", "pool a 192.0.2.0/24; svc x has=192.0.2.7", "x=192.0.2.7@a"),
    (
        "§2.7 with the annotation of another pool",
        "pool a 192.0.2.0/24; svc x has=192.0.2.7 from=gone",
        "x=192.0.2.7@a",
    ),
    (
        "§2.7 two families",
        "pool a 192.0.2.0/24 2001:db8::/64; svc x both has=192.0.2.7,2001:db8::7 from=a; restart",
        "x=192.0.2.7+2001:db8::7@a",
    ),
    (
        "§2.7 an address that is not ours",
        "pool a 192.0.2.0/24; svc x has=203.0.113.7",
        r#"x=192.0.2.0@a; x- ["203.0.113.7"] is not allowed in config"#,
    ),
    (
        "§2.7 one address in two status: the older Service keeps it",
        "pool a 192.0.2.0/24; class=z; restart; svc x born=2 has=192.0.2.5; svc y born=1 has=192.0.2.5; class=; restart",
        r#"x=192.0.2.0@a; y=192.0.2.5@a; x- can't change sharing key for "ns/x", address also in use by ns/y: 192.0.2.5: existing service does not allow sharing (metallb.io/allow-shared-ip)"#,
    ),
    (
        "§2.7 a refused one is refused after a restart as well",
        "pool a 192.0.2.0/32; svc x; svc y; restart",
        "x=192.0.2.0@a; y=; y! no available IPs",
    ),
];

const POOLS: &[Case] = &[
    (
        "§2.7 a pool grows",
        "pool a 192.0.2.0/32; svc x; svc y; pool a 192.0.2.0/31",
        "x=192.0.2.0@a; y=192.0.2.1@a",
    ),
    (
        "§2.7 a pool shrinks",
        "pool a 192.0.2.0/31; svc x; svc y; pool a 192.0.2.1/32 192.0.2.8/32",
        r#"x=192.0.2.8@a; y=192.0.2.1@a; x- ["192.0.2.0"] is not allowed in config"#,
    ),
    (
        "§2.7 a pool shrinks, nothing else is free",
        "pool a 192.0.2.0/31; svc x; svc y; pool a 192.0.2.0/32",
        r#"x=192.0.2.0@a; y=; y- ["192.0.2.1"] is not allowed in config; y! no available IPs"#,
    ),
    (
        "§2.7 a pool goes, another is there",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24; svc x; nopool a",
        r#"x=198.51.100.0@b; x- ["192.0.2.0"] is not allowed in config"#,
    ),
    (
        "§2.7 the last pool goes (MetalLB: in silence)",
        "pool a 192.0.2.0/24; svc x; nopool a",
        r#"x=; x- ["192.0.2.0"] is not allowed in config; x! no available IPs: there is no IPAddressPool"#,
    ),
    (
        "§2.7 ... and comes again",
        "pool a 192.0.2.0/24; svc x; nopool a; pool a 192.0.2.0/24",
        "x=192.0.2.0@a",
    ),
    (
        "§2.7 a pool is renamed: the address stays",
        "pool a 192.0.2.0/24; svc x has=192.0.2.7 from=a; pool b 198.51.100.0/24; nopool a; restart; pool c 192.0.2.0/24",
        "x=198.51.100.0@b",
    ),
    (
        "§2.7 renamed while no controller ran",
        "pool b 192.0.2.0/24; svc x has=192.0.2.7 from=a",
        "x=192.0.2.7@b",
    ),
    (
        "§2.7 a range is split",
        "pool a 192.0.2.0/24; svc x has=192.0.2.7; pool a 192.0.2.0/29 192.0.2.8/29",
        "x=192.0.2.7@a",
    ),
    ("§2.7 autoAssign goes: kept", "pool a 192.0.2.0/24; svc x; pool a 192.0.2.0/24 manual", "x=192.0.2.0@a"),
    (
        "§2.7 avoidBuggyIPs comes: as when the pool shrinks",
        "pool a 192.0.2.0/24; svc x; pool a 192.0.2.0/24 avoid",
        r#"x=192.0.2.1@a; x- ["192.0.2.0"] is not allowed in config: pool a leaves 192.0.2.0 out, for it has avoidBuggyIPs"#,
    ),
    (
        "§2.7 the requested pool comes later",
        "pool a 192.0.2.0/24; svc x pool=b; pool b 198.51.100.0/24",
        "x=198.51.100.0@b",
    ),
    (
        "§2.7 the requested pool goes",
        "pool a 192.0.2.0/24; pool b 198.51.100.0/24; svc x pool=b; nopool b",
        r#"x=; x- ["198.51.100.0"] is not allowed in config; x! unknown pool "b""#,
    ),
    (
        "§2.7 the requested address comes later",
        "pool a 192.0.2.0/24; svc x ip=198.51.100.7; pool b 198.51.100.0/24",
        "x=198.51.100.7@b",
    ),
    (
        "§2.7 an overlapping pool takes nothing from anybody",
        "pool a 192.0.2.0/24; svc x; pool b 192.0.2.0/25",
        "x=192.0.2.0@a",
    ),
    (
        "§2.7 a range moves between two pools, in two steps",
        "pool a 192.0.2.0/25 192.0.2.128/25; svc x has=192.0.2.200; pool b 198.51.100.0/24 192.0.2.128/25; pool a 192.0.2.0/25",
        "x=192.0.2.200@b",
    ),
];

const FREED: &[Case] = &[
    ("§2.7 a deleted Service's address", "pool a 192.0.2.0/32; svc x; svc y; del x", "y=192.0.2.0@a"),
    (
        "§2.7 a type that changes",
        "pool a 192.0.2.0/32; svc x; svc y; svc x type=ClusterIP",
        "x=; y=192.0.2.0@a",
    ),
    (
        "§2.7 the oldest of those who wait",
        "pool a 192.0.2.0/32; svc w; svc x born=3; svc y born=1; svc z born=2; del w",
        "x=; y=192.0.2.0@a; z=",
    ),
    (
        "§2.7 ... then the next",
        "pool a 192.0.2.0/32; svc w; svc x born=3; svc y born=1; svc z born=2; del w; del y",
        "x=; z=192.0.2.0@a",
    ),
    (
        "§2.7 whoever cannot use it is passed over",
        "pool a 192.0.2.0/32 2001:db8::/128; svc w; svc x born=1 both; svc u born=0 v6; svc y born=2; del w",
        "u=2001:db8::@a; x=; y=192.0.2.0@a",
    ),
    (
        "§2.7 both families become free at once",
        "pool a 192.0.2.0/32 2001:db8::/128; svc w both; svc x both; del w",
        "x=192.0.2.0+2001:db8::@a",
    ),
    (
        "§2.7 one after the other",
        "pool a 192.0.2.0/32 2001:db8::/128; svc u; svc w v6; svc x both; del u; del w",
        "x=192.0.2.0+2001:db8::@a",
    ),
    (
        "§2.7 who asks for the address by name",
        "pool a 192.0.2.0/31; svc w; svc v; svc x ip=192.0.2.0; del w",
        "v=192.0.2.1@a; x=192.0.2.0@a",
    ),
    (
        "§2.7 who asks for another one waits on",
        "pool a 192.0.2.0/31; svc w; svc v; svc x ip=192.0.2.0; del v",
        "w=192.0.2.0@a; x=",
    ),
    (
        "§2.7 who asks for the pool",
        "pool a 192.0.2.0/32 manual; svc w pool=a; svc x pool=a; del w",
        "x=192.0.2.0@a",
    ),
    (
        "§2.7 who may not use the pool is passed over",
        "pool a 192.0.2.0/32; svc w; svc red/x born=1 pool=b; svc y born=2; del w",
        "y=192.0.2.0@a; red/x=",
    ),
    (
        "§2.7 who moves leaves an address",
        "pool a 192.0.2.0/32; pool b 198.51.100.0/24 manual; svc w; svc x; svc w pool=b",
        "w=198.51.100.0@b; x=192.0.2.0@a",
    ),
    (
        "§2.7 who was waiting and is gone gets nothing",
        "pool a 192.0.2.0/32; svc w; svc x born=1; svc y born=2; del x; del w",
        "y=192.0.2.0@a",
    ),
];

#[test]
fn restarts_move_nobody_section_2_7() {
    play(RESTARTS);
}

#[test]
fn pools_that_change_section_2_7() {
    play(POOLS);
}

#[test]
fn freed_addresses_go_to_who_waits_section_2_7() {
    play(FREED);
}
