//! Events that no other table has, in full (§3.1); reasons and types are in `words.rs`.

use crate::{Case, play};

pub(crate) const TABLES: &[&[Case]] = &[EVENTS];

const EVENTS: &[Case] = &[
    (
        "§3.1 nolbIPsIPFamily",
        "pool a 192.0.2.0/24; svc x has=192.0.2.1,192.0.2.2",
        r#"x=192.0.2.0@a; x nolbIPsIPFamily: Failed to retrieve LBIPs IPFamily for ["192.0.2.1" "192.0.2.2"]: IPFamilyForAddresses: same address family ["192.0.2.1" "192.0.2.2"]"#,
    ),
    (
        "§3.1 noclusterIPsIPFamily: what is held stays",
        "pool a 192.0.2.0/24; svc x; svc x headless",
        r#"x=192.0.2.0@a; x noclusterIPsIPFamily: Failed to retrieve ClusterIPs IPFamily for ["None"] None: IPFamilyForAddresses: Invalid address ["None"]"#,
    ),
    (
        "§3.1 not enough clusterips: what is held goes",
        "pool a 192.0.2.0/24; svc x; svc x require1",
        "x=; x not enough clusterips: Service requires dual stack but not enough clusterips [10.96.0.1]",
    ),
    ("§3.1 no ClusterIP any longer: what is held goes", "pool a 192.0.2.0/24; svc x; svc x none", "x="),
    (
        "§3.1 nothing is said of a Service that is as it was",
        "pool a 192.0.2.0/24; svc x; svc x label=k:v",
        "x=192.0.2.0@a",
    ),
    ("§3.1 nothing is said after a restart", "pool a 192.0.2.0/24; svc x; restart", "x=192.0.2.0@a"),
];

#[test]
fn events_section_3_1() {
    play(EVENTS);
}
