//! Who may share an address (§2.5), judged anew at every change.

use crate::{Case, play};

pub(crate) const TABLES: &[&[Case]] = &[RULES, CHANGES, CHAINS];

const RULES: &[Case] = &[
    ("§2.5 no keys", "pool a 192.0.2.0/24; svc x; svc y ports=81", "x=192.0.2.0@a; y=192.0.2.1@a"),
    (
        "§2.5 equal keys, other ports",
        "pool a 192.0.2.0/24; svc x share=k; svc y share=k ports=81",
        "x=192.0.2.0@a; y=192.0.2.0@a",
    ),
    (
        "§2.5 equal keys, the same port",
        "pool a 192.0.2.0/24; svc x share=k; svc y share=k",
        "x=192.0.2.0@a; y=192.0.2.1@a",
    ),
    (
        "§2.5 the same number of another protocol",
        "pool a 192.0.2.0/24; svc x share=k ports=53; svc y share=k ports=53/UDP; svc z share=k ports=53/SCTP",
        "x=192.0.2.0@a; y=192.0.2.0@a; z=192.0.2.0@a",
    ),
    (
        "§2.5 one port of several in common",
        "pool a 192.0.2.0/24; svc x share=k ports=80,443; svc y share=k ports=443,8443",
        "x=192.0.2.0@a; y=192.0.2.1@a",
    ),
    (
        "§2.5 other keys",
        "pool a 192.0.2.0/24; svc x share=k; svc y share=l ports=81",
        "x=192.0.2.0@a; y=192.0.2.1@a",
    ),
    (
        "§2.5 one key, one none",
        "pool a 192.0.2.0/24; svc x share=k; svc y ports=81",
        "x=192.0.2.0@a; y=192.0.2.1@a",
    ),
    (
        "§2.5 empty keys share nothing",
        "pool a 192.0.2.0/24; svc x share=; svc y share= ports=81",
        "x=192.0.2.0@a; y=192.0.2.1@a",
    ),
    (
        "§2.5 Cluster and Local",
        "pool a 192.0.2.0/24; svc x share=k; svc y share=k ports=81 local",
        "x=192.0.2.0@a; y=192.0.2.1@a",
    ),
    (
        "§2.5 Local with equal selectors",
        "pool a 192.0.2.0/24; svc x share=k local sel=app:z; svc y share=k ports=81 local sel=app:z",
        "x=192.0.2.0@a; y=192.0.2.0@a",
    ),
    (
        "§2.5 Local with other selectors",
        "pool a 192.0.2.0/24; svc x share=k local sel=app:z; svc y share=k ports=81 local sel=app:w",
        "x=192.0.2.0@a; y=192.0.2.1@a",
    ),
    (
        "§2.5 Cluster does not look at selectors",
        "pool a 192.0.2.0/24; svc x share=k sel=app:z; svc y share=k ports=81 sel=app:w",
        "x=192.0.2.0@a; y=192.0.2.0@a",
    ),
    (
        "§2.5 Cluster and Local without selector",
        "pool a 192.0.2.0/24; svc x share=k; svc y share=k ports=81 local sel=",
        "x=192.0.2.0@a; y=192.0.2.0@a",
    ),
    (
        "§2.5 across namespaces",
        "pool a 192.0.2.0/24; svc red/x share=k; svc blue/x share=k ports=81",
        "blue/x=192.0.2.0@a; red/x=192.0.2.0@a",
    ),
    (
        "§2.5 on request",
        "pool a 192.0.2.0/24; svc x share=k ip=192.0.2.9; svc y share=k ports=81 ip=192.0.2.9",
        "x=192.0.2.9@a; y=192.0.2.9@a",
    ),
    (
        "§2.5 on request, the same port",
        "pool a 192.0.2.0/24; svc x share=k ip=192.0.2.9; svc y share=k ip=192.0.2.9",
        r#"x=192.0.2.9@a; y=; y! port TCP/80 is already in use on "192.0.2.9" by ns/x"#,
    ),
    (
        "§2.5 on request, another key",
        "pool a 192.0.2.0/24; svc x share=k ip=192.0.2.9; svc y share=l ip=192.0.2.9 ports=81",
        r#"x=192.0.2.9@a; y=; y! can't change sharing key for "ns/y", address also in use by ns/x: 192.0.2.9: sharing key does not match existing sharing key (metallb.io/allow-shared-ip)"#,
    ),
    (
        "§2.5 on request, no key",
        "pool a 192.0.2.0/24; svc x share=k ip=192.0.2.9; svc y ip=192.0.2.9 ports=81",
        r#"x=192.0.2.9@a; y=; y! can't change sharing key for "ns/y", address also in use by ns/x: 192.0.2.9: new service does not allow sharing (metallb.io/allow-shared-ip)"#,
    ),
    (
        "§2.5 on request, another policy",
        "pool a 192.0.2.0/24; svc x share=k ip=192.0.2.9; svc y share=k ip=192.0.2.9 ports=81 local",
        r#"x=192.0.2.9@a; y=; y! can't change sharing key for "ns/y", address also in use by ns/x: 192.0.2.9: backends differ: externalTrafficPolicy must be Cluster for both, or Local with equal selectors"#,
    ),
    (
        "§2.5 several holders are named",
        "pool a 192.0.2.0/32; svc x share=k; svc y share=k ports=81; svc z ip=192.0.2.0",
        r#"x=192.0.2.0@a; y=192.0.2.0@a; z=; z! can't change sharing key for "ns/z", address also in use by ns/x,ns/y: 192.0.2.0: new service does not allow sharing (metallb.io/allow-shared-ip)"#,
    ),
    (
        "§2.5 both families are shared",
        "pool a 192.0.2.0/24 2001:db8::/64; svc x both share=k; svc y both share=k ports=81",
        "x=192.0.2.0+2001:db8::@a; y=192.0.2.0+2001:db8::@a",
    ),
    (
        "§2.5 a lower free address comes before a higher shared one",
        "pool a 192.0.2.0/24; svc w; svc x share=k; del w; svc y share=k ports=81",
        "x=192.0.2.1@a; y=192.0.2.0@a",
    ),
    (
        "§2.5 a lower shared address comes before a higher free one",
        "pool a 192.0.2.0/24; svc x share=k; svc w; svc y share=k ports=81",
        "w=192.0.2.1@a; x=192.0.2.0@a; y=192.0.2.0@a",
    ),
    (
        "§2.5 a full pool still has what is shared",
        "pool a 192.0.2.0/32; svc x share=k; svc y share=k ports=81",
        "x=192.0.2.0@a; y=192.0.2.0@a",
    ),
    (
        "§2.5 a shared address is free when the last has gone",
        "pool a 192.0.2.0/32; svc x share=k; svc y share=k ports=81; del x; svc z",
        "y=192.0.2.0@a; z=; z! no available IPs",
    ),
    (
        "§2.7 shared after a restart too",
        "pool a 192.0.2.0/24; svc x share=k; svc y share=k ports=81; restart",
        "x=192.0.2.0@a; y=192.0.2.0@a",
    ),
];

const CHANGES: &[Case] = &[
    (
        "§2.5 a sole holder changes its key in place",
        "pool a 192.0.2.0/24; svc x share=k; svc x share=l",
        "x=192.0.2.0@a",
    ),
    (
        "§2.5 a sole holder changes its policy in place",
        "pool a 192.0.2.0/24; svc x share=k; svc x share=k local",
        "x=192.0.2.0@a",
    ),
    (
        "§2.5 one of two changes its key: it goes",
        "pool a 192.0.2.0/24; svc x share=k; svc y share=k ports=81; svc y share=l ports=81",
        r#"x=192.0.2.0@a; y=192.0.2.1@a; y- can't change sharing key for "ns/y", address also in use by ns/x: 192.0.2.0: sharing key does not match existing sharing key (metallb.io/allow-shared-ip)"#,
    ),
    (
        "§2.5 one of two drops its key",
        "pool a 192.0.2.0/24; svc x share=k; svc y share=k ports=81; svc x",
        r#"x=192.0.2.1@a; y=192.0.2.0@a; x- can't change sharing key for "ns/x", address also in use by ns/y: 192.0.2.0: new service does not allow sharing (metallb.io/allow-shared-ip)"#,
    ),
    (
        "§2.5 one of two takes the other's port",
        "pool a 192.0.2.0/24; svc x share=k; svc y share=k ports=81; svc y share=k ports=80,81",
        r#"x=192.0.2.0@a; y=192.0.2.1@a; y- port TCP/80 is already in use on "192.0.2.0" by ns/x"#,
    ),
    (
        "§2.5 one of two takes a port that nobody has",
        "pool a 192.0.2.0/24; svc x share=k; svc y share=k ports=81; svc y share=k ports=81,82",
        "x=192.0.2.0@a; y=192.0.2.0@a",
    ),
    (
        "§2.5 one of two turns to Local (MetalLB's own test, 1)",
        "pool a 192.0.2.0/32; svc x share=k sel=app:z; svc y share=k ports=81 sel=app:z; svc y share=k ports=81 local sel=app:z",
        r#"x=192.0.2.0@a; y=; y- can't change sharing key for "ns/y", address also in use by ns/x: 192.0.2.0: backends differ: externalTrafficPolicy must be Cluster for both, or Local with equal selectors; y! no available IPs"#,
    ),
    (
        "§2.5 the other follows, and they meet again (2)",
        "pool a 192.0.2.0/32; svc x share=k sel=app:z; svc y share=k ports=81 sel=app:z; svc y share=k ports=81 local sel=app:z; svc x share=k local sel=app:z",
        "x=192.0.2.0@a; y=192.0.2.0@a",
    ),
    (
        "§2.5 one changes its selector (3)",
        "pool a 192.0.2.0/32; svc x share=k local sel=app:z; svc y share=k ports=81 local sel=app:z; svc x share=k local sel=foo:bar",
        r#"x=; y=192.0.2.0@a; x- can't change sharing key for "ns/x", address also in use by ns/y: 192.0.2.0: backends differ: externalTrafficPolicy must be Cluster for both, or Local with equal selectors; x! no available IPs"#,
    ),
    (
        "§2.5 the other aligns (4)",
        "pool a 192.0.2.0/32; svc x share=k local sel=app:z; svc y share=k ports=81 local sel=app:z; svc x share=k local sel=foo:bar; svc y share=k ports=81 local sel=foo:bar",
        "x=192.0.2.0@a; y=192.0.2.0@a",
    ),
    (
        "§2.5 who waits is helped when the holder gets a key",
        "pool a 192.0.2.0/32; svc x; svc y share=k ports=81; svc x share=k",
        "x=192.0.2.0@a; y=192.0.2.0@a",
    ),
    (
        "§2.5 ... when the holder gives up a port",
        "pool a 192.0.2.0/32; svc x share=k ports=80,81; svc y share=k ports=81; svc x share=k",
        "x=192.0.2.0@a; y=192.0.2.0@a",
    ),
    (
        "§2.5 ... when one of two holders goes",
        "pool a 192.0.2.0/32; svc x share=k; svc y share=k ports=81; svc z share=k; del x",
        "y=192.0.2.0@a; z=192.0.2.0@a",
    ),
    (
        "§2.5 ... on request too",
        "pool a 192.0.2.0/24; svc x ip=192.0.2.9; svc y ip=192.0.2.9 share=k ports=81; svc x ip=192.0.2.9 share=k",
        "x=192.0.2.9@a; y=192.0.2.9@a",
    ),
    (
        "§2.5 the terms changed while no controller ran: the older keeps the address",
        "pool a 192.0.2.0/24; class=z; restart; svc x born=2 share=k has=192.0.2.5 from=a; svc y born=1 share=l has=192.0.2.5 from=a ports=81; class=; restart",
        r#"x=192.0.2.0@a; y=192.0.2.5@a; x- can't change sharing key for "ns/x", address also in use by ns/y: 192.0.2.5: sharing key does not match existing sharing key (metallb.io/allow-shared-ip)"#,
    ),
];

const CHAINS: &[Case] = &[
    (
        "§2.5 three in a chain of ports",
        "pool a 192.0.2.0/24; svc x share=k ports=80,81; svc y share=k ports=81,82; svc z share=k ports=82,83",
        "x=192.0.2.0@a; y=192.0.2.1@a; z=192.0.2.0@a",
    ),
    (
        "§2.5 a freed address goes to two who can share it",
        "pool a 192.0.2.0/32; svc w; svc x share=k; svc y share=k ports=81; del w",
        "x=192.0.2.0@a; y=192.0.2.0@a",
    ),
    (
        "§2.5 ... and to no third who cannot",
        "pool a 192.0.2.0/32; svc w; svc x born=1 share=k; svc y born=2 share=k; svc z born=3 share=k ports=81; del w",
        "x=192.0.2.0@a; y=; z=192.0.2.0@a",
    ),
    (
        "§2.5 two that want each other's address and share neither",
        "pool a 192.0.2.0/31; svc x ip=192.0.2.0 share=k; svc y ip=192.0.2.1 share=l; svc x ip=192.0.2.1 share=k; svc y ip=192.0.2.0 share=l",
        "x=192.0.2.1@a; y=192.0.2.0@a",
    ),
    (
        "§2.5 a cycle of three",
        "pool a 192.0.2.0/29; svc x ip=192.0.2.0; svc y ip=192.0.2.1; svc z ip=192.0.2.2; svc x ip=192.0.2.1; svc y ip=192.0.2.2; svc z ip=192.0.2.0",
        "x=192.0.2.1@a; y=192.0.2.2@a; z=192.0.2.0@a",
    ),
];

#[test]
fn sharing_follows_section_2_5() {
    play(RULES);
}

#[test]
fn sharing_is_judged_anew_at_every_change_section_2_5() {
    play(CHANGES);
}

#[test]
fn chains_and_cycles_come_to_rest_section_2_5() {
    play(CHAINS);
}
