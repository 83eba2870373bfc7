//! What people write wrongly, all of `common/api/tests/fixtures/malformed.json`: the parser's
//! word for each object. What the API server says to them is for the end-to-end tests.

use std::fs;
use std::path::Path;

use clarion_api::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use clarion_config::Config;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::World;

/// Whether the types can hold it. Only what the schema refuses may be what they cannot: an object
/// that they cannot hold would break the watch of its kind.
fn is_readable(kind: &str, spec: &Value) -> bool {
    fn read<K: DeserializeOwned>(spec: &Value) -> bool {
        let version = json!({ "apiVersion": "x/v1", "kind": "X", "metadata": {}, "spec": spec });
        serde_json::from_value::<K>(version).is_ok()
    }
    match kind {
        "IPAddressPool" => read::<IPAddressPool>(spec),
        "L2Advertisement" => read::<L2Advertisement>(spec),
        "BGPAdvertisement" => read::<BGPAdvertisement>(spec),
        "BGPPeer" => read::<BGPPeer>(spec),
        "BFDProfile" => read::<BFDProfile>(spec),
        "Community" => read::<Community>(spec),
        other => panic!("no kind {other}"),
    }
}

#[test]
fn every_malformed_object_is_set_aside_to_the_word_and_nothing_else_is_lost() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/tests/fixtures/malformed.json");
    let cases: Vec<Value> = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert!(cases.len() >= 200);
    // In force before and meanwhile.
    let others = World::new().with("IPAddressPool", "good", &json!({ "addresses": ["10.0.0.0/24"] })).with(
        "L2Advertisement",
        "good",
        &json!({}),
    );
    let before = others.parse().config;
    let mut wrong = Vec::new();
    for case in &cases {
        let kind = case["kind"].as_str().unwrap();
        let spec = &case["spec"];
        let said = if is_readable(kind, spec) {
            let world = others.clone().with(kind, "malformed", spec);
            let outcome = world.after(&before);
            let in_force = Config { set_aside: Default::default(), unread: None, ..outcome.config.clone() };
            match outcome.problems.as_slice() {
                [] => json!(null),
                [problem] => {
                    assert_eq!(in_force, before, "{case}");
                    json!(format!("{}: {}", problem.field, problem.message))
                }
                more => panic!("{case}: {more:?}"),
            }
        } else {
            assert!(case["server"].is_string(), "{case}: nobody refuses what nobody can read");
            json!("unreadable")
        };
        if case.get("parser") != Some(&said) {
            wrong.push(format!("{}", json!({ "kind": kind, "spec": spec, "said": said })));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
