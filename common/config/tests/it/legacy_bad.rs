//! ConfigMaps that are wrong: each says where and what to do, the rest of it counts, and
//! no text takes more than its share of time and memory.

use std::fmt::Write as _;

use crate::legacy::{read, said};

/// What else is in every text of the table, before and after the entry in question.
fn around(top: &str) -> String {
    format!("{top}\naddress-pools:\n- {{name: good, protocol: layer2, addresses: [10.255.0.0/24]}}\n")
}

fn pool(entry: &str) -> String {
    around("") + &format!("- {{name: bad, {entry}}}\n")
}

fn layer2(address: &str) -> String {
    pool(&format!("protocol: layer2, addresses: [{address}]"))
}

fn advertisement(entry: &str) -> String {
    let peers = "peers: [{peer-address: 10.0.0.1, peer-asn: 1, my-asn: 2}]";
    around(peers)
        + &format!(
            "- {{name: bad, protocol: bgp, addresses: [10.1.0.0/24], bgp-advertisements: [{entry}]}}\n"
        )
}

fn peer(keys: &str) -> String {
    around(&format!("peers: [{{peer-address: 10.0.0.1, peer-asn: 1, my-asn: 2, {keys}}}]"))
}

fn top(text: &str) -> String {
    around(text)
}

#[test]
fn malformed_entries_are_told_place_and_remedy() {
    let long = "x".repeat(300);
    // (text, the one thing that is said; `…` stands for anything)
    let table: Vec<(String, &str)> = vec![
        // addresses
        (
            layer2("10.1.0.0/33"),
            r#"address-pools[1].addresses[0]: invalid CIDR "10.1.0.0/33": write a prefix"#,
        ),
        (layer2("10.1.0.1"), r#"address-pools[1].addresses[0]: invalid CIDR "10.1.0.1": write a prefix"#),
        (
            layer2("10.1.0.9-10.1.0.1"),
            r#"address-pools[1].addresses[0]: invalid IP range "10.1.0.9-10.1.0.1": start is after end"#,
        ),
        (
            layer2("10.1.0.9-2001:db8::1"),
            "address-pools[1].addresses[0]: invalid IP range …: start and end are of different families",
        ),
        (layer2("'::ffff:10.1.0.0/120'"), "address-pools[1].addresses[0]: …write IPv4 addresses as such"),
        (layer2("'fe80::1%eth0/128'"), r#"address-pools[1].addresses[0]: invalid CIDR "fe80::1%eth0/128""#),
        (layer2("10.1.0.0 /24"), r#"address-pools[1].addresses[0]: invalid CIDR "10.1.0.0 /24""#),
        (layer2("1e400"), r#"address-pools[1].addresses[0]: invalid CIDR "1e400""#),
        (
            layer2("10.1.0.0/24, 10.1.0.128/25"),
            "address-pools[1].addresses[1]: CIDR …overlaps with already defined CIDR …of the same pool",
        ),
        (
            layer2("10.255.0.0/25"),
            r#"address-pools[1].addresses[0]: CIDR "10.255.0.0/25" in pool "bad" overlaps with already defined CIDR "10.255.0.0/24" of pool "good""#,
        ),
        (layer2("{a: b}"), "address-pools[1].addresses[0]: keys and values stands here: write one value"),
        (
            layer2(""),
            "address-pools[1].addresses: pool has no prefixes defined: write at least one prefix or range",
        ),
        (pool("protocol: layer2"), "address-pools[1].addresses: pool has no prefixes defined"),
        (
            pool("protocol: layer2, addresses: 10.1.0.0/24"),
            "address-pools[1].addresses: a value stands here: write a list, each entry after `- `",
        ),
        (
            pool("protocol: layer2, cidr: [10.1.0.0/24, 10.1.0.0/24]"),
            "address-pools[1].cidr[1]: CIDR …overlaps",
        ),
        // the other keys of a pool
        (
            pool("addresses: [10.1.0.0/24]"),
            "address-pools[1].protocol: address pool is missing the protocol field: write protocol: layer2, or protocol: bgp and peers",
        ),
        (
            pool("protocol: BGP, addresses: [10.1.0.0/24]"),
            r#"address-pools[1].protocol: unknown protocol "BGP": write layer2 or bgp"#,
        ),
        (
            pool("protocol: layer2, addresses: [10.1.0.0/24], auto-assign: maybe"),
            r#"address-pools[1].auto-assign: "maybe" is neither true nor false"#,
        ),
        (
            pool("protocol: layer2, addresses: [10.1.0.0/24], avoid-buggy-ips: [true]"),
            "address-pools[1].avoid-buggy-ips: a list stands here",
        ),
        (
            pool("protocol: layer2, addresses: [10.1.0.0/24], autoassign: false"),
            r#"address-pools[1]: unknown key "autoassign": did you mean auto-assign?"#,
        ),
        (
            pool("protocol: layer2, addresses: [10.1.0.0/24], interfaces: [eth0]"),
            r#"address-pools[1]: unknown key "interfaces": remove it; known are name, protocol"#,
        ),
        (
            pool("protocol: layer2, addresses: [10.1.0.0/24], bgp-advertisements: [{}]"),
            "address-pools[1].protocol: cannot have bgp-advertisements configuration element in a layer2 address pool",
        ),
        (
            pool("protocol: bgp, addresses: [10.1.0.0/24], arp-network: 10.1.0.0/24"),
            "address-pools[1].arp-network: cannot have arp-network configuration element in a BGP address pool",
        ),
        (
            pool("protocol: arp, addresses: [10.1.0.0/24], arp-network: x"),
            r#"address-pools[1].arp-network: parsing ARP network: invalid CIDR "x""#,
        ),
        (pool(&format!("name2: {long}")), r#"address-pools[1]: unknown key "name2": did you mean name?"#),
        (
            around("") + &format!("- {{name: {long}, protocol: layer2, addresses: [10.1.0.0/24]}}"),
            "address-pools[1].name: pool name is longer than 253 bytes",
        ),
        (
            around("") + "- {name: good, protocol: layer2, addresses: [10.1.0.0/24]}",
            r#"address-pools[1].name: duplicate definition of pool "good": address-pools[0] has that name"#,
        ),
        (
            around("") + "- {protocol: layer2, addresses: [10.1.0.0/24]}",
            "address-pools[1].name: missing pool name",
        ),
        (around("") + "-", "address-pools[1].name: missing pool name"),
        (around("") + "- just text", "address-pools[1]: a value stands here: write lines of `key: value`"),
        // advertisements
        (
            advertisement("{aggregation-length: 33}"),
            "address-pools[1].bgp-advertisements[0].aggregation-length: invalid value 33, must be in 1-32 range",
        ),
        (
            advertisement("{aggregation-length: 16}"),
            "address-pools[1].bgp-advertisements[0].aggregation-length: invalid aggregation length 16: prefix 24 in this pool is more specific",
        ),
        (
            advertisement("{aggregation-length-v6: 0}"),
            "address-pools[1].bgp-advertisements[0].aggregation-length-v6: invalid value 0, must be in 1-128 range",
        ),
        (
            advertisement("{localpref: 4294967296}"),
            "address-pools[1].bgp-advertisements[0].localpref: invalid value 4294967296",
        ),
        (
            advertisement("{localpref: 99999999999999999999999}"),
            "address-pools[1].bgp-advertisements[0].localpref: invalid number \"99999999999999999999999\"",
        ),
        (
            advertisement("{localpref: 1}, {localpref: 2}"),
            "address-pools[1].bgp-advertisements[1].localpref: invalid local preference 2: local preference 1 was already set",
        ),
        (
            advertisement("{communities: [1:2, 1:2]}"),
            "address-pools[1].bgp-advertisements[0].communities[1]: duplicate definition of community \"1:2\"",
        ),
        (
            advertisement("{communities: [no-export]}"),
            "address-pools[1].bgp-advertisements[0].communities[0]: invalid community \"no-export\": …bgp-communities does not define \"no-export\"",
        ),
        (
            advertisement("{communities: ['65536:1']}"),
            "address-pools[1].bgp-advertisements[0].communities[0]: invalid community \"65536:1\"",
        ),
        (
            advertisement("{local-pref: 1}"),
            r#"address-pools[1].bgp-advertisements[0]: unknown key "local-pref": did you mean localpref?"#,
        ),
        // peers
        (peer("peer-port: 70000"), "peers[0].peer-port: invalid value 70000, must be in 0-65535 range"),
        (
            peer("peer-port: 0x50"),
            "peers[0].peer-port: invalid number \"0x50\": write a whole number in decimal",
        ),
        (peer("peer-port: 010"), "peers[0].peer-port: invalid number \"010\""),
        (peer("hold-time: 2s"), "peers[0].hold-time: invalid hold time 2s: must be 0 or >=3s"),
        (
            peer("hold-time: 5 minutes"),
            "peers[0].hold-time: invalid hold time \"5 minutes\": write it like 30s, 1m30s or 0",
        ),
        (
            peer("hold-time: 9s, keepalive-time: 10s"),
            "peers[0].keepalive-time: invalid keepalive-time 10s, must be lower than hold-time 9s",
        ),
        (peer("router-id: 1.2.3"), "peers[0].router-id: invalid router ID \"1.2.3\""),
        (peer("source-address: eth0"), "peers[0].source-address: invalid source IP \"eth0\""),
        (
            peer("bfd-profile: none"),
            "peers[0].bfd-profile: peer …referencing non existing bfd profile none: add it to bfd-profiles or remove bfd-profile",
        ),
        (peer("bfdProfile: none"), "peers[0]: unknown key \"bfdProfile\": did you mean bfd-profile?"),
        (peer(r#"password: "a\nb""#), "peers[0].password: password contains invalid characters"),
        (
            peer("node-selectors: [{match-expressions: [{key: a, operator: Almost, values: [b]}]}]"),
            "peers[0].node-selectors[0].match-expressions[0]: ",
        ),
        (
            peer("node-selectors: [{match-labels: [a]}]"),
            "peers[0].node-selectors[0].match-labels: a list stands here: write lines of `name: value`",
        ),
        (
            peer("node-selectors: [{matchLabels: {a: b}}]"),
            "peers[0].node-selectors[0]: unknown key \"matchLabels\": did you mean match-labels?",
        ),
        (
            peer("node-selectors: [{match-expressions: [{key: a, op: In}]}]"),
            "peers[0].node-selectors[0].match-expressions[0]: unknown key \"op\"",
        ),
        (
            top("peers: [{peer-address: 10.0.0.1, peer-asn: 7, my-asn: 7, ebgp-multihop: true}]"),
            "peers[0].ebgp-multihop: invalid ebgp-multihop parameter set for an ibgp peer",
        ),
        (
            top("peers: [{peer-address: 10.0.0.1, peer-asn: 1.10, my-asn: 7}]"),
            "peers[0].peer-asn: invalid number \"1.10\"",
        ),
        (
            top("peers: [{peer-address: 10.0.0.1, my-asn: 7}]"),
            "peers[0].peer-asn: missing peer ASN: write peer-asn:",
        ),
        (top("peers: [{peer-asn: 1, my-asn: 7}]"), "peers[0].peer-address: invalid peer IP \"\""),
        (
            top(
                "peers: [{peer-address: 10.0.0.1, peer-asn: 1, my-asn: 2}, {peer-address: 10.0.0.1, peer-asn: 1, my-asn: 2}]",
            ),
            "peers[1]: peer peer-10-0-0-1-2 already exists",
        ),
        // the rest
        (
            top("bgp-communities: {a: 1}"),
            "bgp-communities.a: parsing community \"a\": invalid community \"1\"",
        ),
        (top("bgp-communities: {a: [1:2]}"), "bgp-communities.a: a list stands here"),
        (top("bgp-communities: [a]"), "bgp-communities: a list stands here: write lines of `name: value`"),
        (
            top("communities: {a: 1:2}\nbgp-communities: {a: 1:3}"),
            "communities.a: duplicate definition of community \"a\": it means \"1:3\" already",
        ),
        (
            top("bfd-profiles: [{name: a, detect-multiplier: 1}]"),
            "bfd-profiles[0].detect-multiplier: invalid value 1, must be in 2-255 range",
        ),
        (
            top("bfd-profiles: [{name: a}, {name: a}]"),
            "bfd-profiles[1].name: found duplicate bfd profile name \"a\"",
        ),
        (top("bfd-profiles: [{receive-interval: 100}]"), "bfd-profiles[0].name: missing bfd profile name"),
        (
            top("peer-autodiscovery: {}"),
            "unknown key \"peer-autodiscovery\": remove it; known are address-pools, peers, ",
        ),
    ];
    assert!(table.len() >= 60, "{}", table.len());
    for (text, expected) in table {
        let outcome = read(&text);
        let said = said(&outcome);
        assert_eq!(said.len(), 1, "{text}\n{said:#?}");
        let mut rest = said[0].as_str();
        for (i, part) in expected.split('…').enumerate() {
            let at = rest.find(part).filter(|at| i > 0 || *at == 0);
            let at = at.unwrap_or_else(|| panic!("{text}\nexpected {expected}\n    said {}", said[0]));
            rest = rest.split_at(at + part.len()).1;
        }
        assert!(outcome.config.pools.contains_key(&"good".into()), "the good pool does not count:\n{text}");
    }
}

#[test]
fn a_text_that_is_no_configuration_says_the_line() {
    // (text, the beginning of what is said)
    let table = [
        ("address-pools:\n- name: [", "line 2: "),
        ("address-pools:\n\t- name: a", "line 2: "),
        ("- a\n- b", "a list stands here: write lines like `address-pools:`"),
        ("hello", "a value stands here"),
        ("a: *nobody", "line 1: "),
        ("a: &a\n- *a", "line 2: an alias stands inside of what it refers to"),
        ("? [a]\n: b", "line 1: a list stands where a key should"),
        ("a: 1\n---\nb: 2", "line 2: a second document begins"),
        ("a: \"\u{0}\"", "line 1: "),
        ("<<: x", "line 1: `<<` needs an alias of keys and values"),
    ];
    for (text, expected) in table {
        let said = said(&read(text));
        let expected = format!("could not parse config: {expected}");
        assert!(said.len() == 1 && said[0].starts_with(&expected), "{text:?}: {said:#?}");
    }
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let mut laughs = "x0: &x0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for i in 1..30 {
        let _ = writeln!(laughs, "x{i}: &x{i} [{}]", vec![format!("*x{}", i - 1); 10].join(", "));
    }
    let mut merges = "m0: &m0 {a: 1, b: 2}\n".to_owned();
    for i in 1..2000 {
        let _ = writeln!(merges, "m{i}: &m{i} {{<<: [*m{0}, *m{0}], k{i}: 1}}", i - 1);
    }
    let deep = format!("a: {}{}", "[".repeat(5000), "]".repeat(5000));
    let indented: String = (0..500).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    let wide = format!("address-pools: [{}]", "a,".repeat(200_000));
    let large = format!("a: {}", "x".repeat(2 * 1024 * 1024));
    for (name, text) in [
        ("aliases", laughs),
        ("merges", merges),
        ("depth", deep),
        ("blocks", indented),
        ("width", wide),
        ("size", large),
    ] {
        let begin = std::time::Instant::now();
        let said = said(&read(&text));
        assert!(
            said.len() == 1 && said[0].starts_with("could not parse config: "),
            "{name}: {:.300}",
            format!("{said:?}")
        );
        assert!(said[0].len() < 300, "{name}: {}", said[0].len());
        assert!(begin.elapsed().as_secs() < 5, "{name} took {:?}", begin.elapsed());
    }
}

/// Messages go into conditions and events: none repeats what somebody wrote without end.
#[test]
fn huge_values_give_short_messages() {
    let huge = "y".repeat(200_000);
    for text in [
        layer2(&huge),
        pool(&format!("protocol: {huge}")),
        pool(&format!("{huge}: 1")),
        peer(&format!("hold-time: {huge}")),
        top(&format!("{huge}: 1")),
    ] {
        for said in said(&read(&text)) {
            assert!(said.len() < 1000, "{} bytes: {:.200}", said.len(), said);
        }
    }
}

#[test]
fn ten_thousand_ranges_are_read_in_a_moment() {
    let ranges: Vec<_> = (0..10_000_u32).map(|i| format!("10.{}.{}.0/24", i / 250, i % 250)).collect();
    let text =
        format!("address-pools:\n- {{name: many, protocol: layer2, addresses: [{}]}}", ranges.join(", "));
    let begin = std::time::Instant::now();
    let outcome = read(&text);
    assert_eq!(outcome.config.pools[&"many".into()].ranges.len(), 10_000);
    assert!(begin.elapsed().as_secs() < 5, "{:?}", begin.elapsed());
}
