//! What can be said of the CRDs and fixtures without an API server. That the fixtures are
//! accepted and refused as they say is for the end-to-end tests: only the API server
//! evaluates CEL.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clarion_api::{
    BFDProfile, BGPAdvertisement, BGPPeer, Community, ConfigurationState, IPAddressPool, L2Advertisement,
    ServiceBGPStatus, ServiceL2Status, crds,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn fixtures(directory: &str) -> Vec<(PathBuf, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(directory);
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).collect()
}

/// As the API server hands an object out: with defaults filled in for a spec that is absent.
fn read<K: DeserializeOwned>(mut object: Value) -> Result<(), serde_json::Error> {
    if let Value::Object(fields) = &mut object {
        fields.entry("spec").or_insert_with(|| Value::Object(serde_json::Map::default()));
    }
    serde_json::from_value::<K>(object).map(drop)
}

fn read_as_its_kind(object: Value) -> Result<(), serde_json::Error> {
    match object["kind"].as_str().unwrap() {
        "IPAddressPool" => read::<IPAddressPool>(object),
        "L2Advertisement" => read::<L2Advertisement>(object),
        "BGPAdvertisement" => read::<BGPAdvertisement>(object),
        "BGPPeer" => read::<BGPPeer>(object),
        "BFDProfile" => read::<BFDProfile>(object),
        "Community" => read::<Community>(object),
        "ServiceL2Status" => read::<ServiceL2Status>(object),
        "ServiceBGPStatus" => read::<ServiceBGPStatus>(object),
        "ConfigurationState" => read::<ConfigurationState>(object),
        "Service" => Ok(()),
        other => panic!("a fixture of an unknown kind: {other}"),
    }
}

#[test]
fn every_accepted_fixture_can_be_read() {
    for (path, text) in fixtures("accept") {
        for object in documents(&text) {
            read_as_its_kind(object).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}

/// An object that was stored before the rules were must not break the watch of its kind.
/// Only what the schema of every MetalLB release requires may be required.
#[test]
fn every_refused_fixture_can_be_read_unless_a_required_field_is_missing() {
    for (path, text) in fixtures("refuse") {
        let required = text.lines().next().unwrap().ends_with("Required value");
        for object in documents(&text) {
            let result = read_as_its_kind(object);
            assert_eq!(result.is_err(), required, "{}: {result:?}", path.display());
        }
    }
}

#[test]
fn every_refused_fixture_says_what_to_expect() {
    for (path, text) in fixtures("refuse") {
        let words = text.lines().next().and_then(|line| line.strip_prefix("# expect: "));
        assert!(words.is_some_and(|w| !w.trim().is_empty()), "{}", path.display());
    }
}

#[test]
fn every_message_of_a_rule_is_expected_by_a_fixture() {
    let expected: Vec<String> =
        fixtures("refuse").iter().map(|(_, text)| text.lines().next().unwrap()[10..].to_owned()).collect();
    let mut messages = Vec::new();
    for crd in crds() {
        each_rule(&serde_json::to_value(&crd).unwrap(), &mut |rule| {
            messages.push(rule["message"].as_str().expect("every rule has a message").to_owned());
        });
    }
    assert!(messages.len() > 30);
    // Status subresources are written by Clarion, not by `kubectl apply`.
    messages.retain(|message| message != "Value is immutable");
    for message in messages {
        let seen = expected.iter().any(|words| message.contains(words.as_str()));
        assert!(seen, "no fixture expects {message:?}");
    }
}

fn each_rule(schema: &Value, visit: &mut impl FnMut(&Value)) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Array(rules)) = fields.get("x-kubernetes-validations") {
                rules.iter().for_each(&mut *visit);
            }
            fields.values().for_each(|value| each_rule(value, visit));
        }
        Value::Array(items) => items.iter().for_each(|value| each_rule(value, visit)),
        _ => {}
    }
}

#[test]
fn kinds_versions_and_names_are_metallbs() {
    let found: BTreeMap<String, Vec<(String, bool, bool)>> = crds()
        .into_iter()
        .map(|crd| {
            let group = if crd.spec.names.kind == "OwnerPlan" { "clarion.dev" } else { "metallb.io" };
            assert_eq!((crd.spec.group.as_str(), crd.spec.scope.as_str()), (group, "Namespaced"));
            let versions = crd.spec.versions.iter().map(|v| (v.name.clone(), v.served, v.storage)).collect();
            (crd.spec.names.plural, versions)
        })
        .collect();
    let only = |name: &str| vec![(name.to_owned(), true, true)];
    let mut wanted: BTreeMap<String, _> = [
        "ipaddresspools",
        "l2advertisements",
        "bgpadvertisements",
        "bfdprofiles",
        "communities",
        "servicel2statuses",
        "servicebgpstatuses",
        "configurationstates",
    ]
    .map(|plural| (plural.to_owned(), only("v1beta1")))
    .into();
    let peers = vec![("v1beta1".to_owned(), true, false), ("v1beta2".to_owned(), true, true)];
    wanted.insert("bgppeers".to_owned(), peers);
    wanted.insert("ownerplans".to_owned(), only("v1alpha1"));
    assert_eq!(found, wanted);
}

#[test]
fn every_version_has_a_status_and_every_field_a_description() {
    for crd in crds() {
        for version in &crd.spec.versions {
            let name = format!("{} {}", crd.spec.names.kind, version.name);
            // A plan is what somebody wants, and nobody reports on it.
            let has_status = version.subresources.as_ref().is_some_and(|s| s.status.is_some());
            assert_eq!(has_status, crd.spec.names.kind != "OwnerPlan", "{name}");
            let schema = version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
            let spec = schema.properties.as_ref().unwrap().get("spec");
            let fields = spec.and_then(|spec| spec.properties.as_ref());
            for (field, schema) in fields.into_iter().flatten() {
                let described = schema.description.as_ref().is_some_and(|d| d.len() > 10);
                assert!(described, "{name}: spec.{field} has no description");
            }
        }
    }
}

/// With conversion strategy `None` a field that only one version has would be lost on the way.
#[test]
fn both_versions_of_a_peer_have_the_same_fields() {
    let crd = crds().into_iter().find(|crd| crd.spec.names.kind == "BGPPeer").unwrap();
    let fields: Vec<Vec<String>> = crd
        .spec
        .versions
        .iter()
        .map(|version| {
            let root = version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
            root.properties.as_ref().unwrap()["spec"].properties.as_ref().unwrap().keys().cloned().collect()
        })
        .collect();
    assert_eq!(fields[0], fields[1]);
    assert_eq!(
        crd.spec.versions[0].deprecation_warning.as_deref(),
        Some("v1beta1 is deprecated, please use v1beta2")
    );
    assert_eq!(crd.spec.conversion.unwrap().strategy, "None");
}

/// The API server knows these formats and warns of all others.
#[test]
fn formats_are_known_to_the_api_server_and_nothing_is_nullable() {
    fn walk(value: &Value) {
        match value {
            Value::Object(fields) => {
                assert!(!fields.contains_key("nullable"), "{fields:?}");
                if let (Some(Value::String(format)), Some(Value::String(_))) =
                    (fields.get("format"), fields.get("type"))
                {
                    assert!(["int32", "int64", "date-time"].contains(&format.as_str()), "{format}");
                }
                fields.values().for_each(walk);
            }
            Value::Array(items) => items.iter().for_each(walk),
            _ => {}
        }
    }
    for crd in crds() {
        walk(&serde_json::to_value(&crd.spec.versions).unwrap());
    }
}

fn policies() -> Vec<Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/admission");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.flat_map(|path| documents(&fs::read_to_string(path).unwrap())).collect()
}

/// A policy that cannot judge lets pass: the parser judges everything again. None looks at a status,
/// or the controller could be kept from saying what is wrong.
#[test]
fn every_policy_is_bound_lets_pass_what_it_cannot_judge_and_leaves_status_alone() {
    let all = policies();
    let of = |kind: &str| all.iter().filter(|object| object["kind"] == kind).collect::<Vec<_>>();
    let bound: Vec<&Value> =
        of("ValidatingAdmissionPolicyBinding").iter().map(|binding| &binding["spec"]["policyName"]).collect();
    let policies = of("ValidatingAdmissionPolicy");
    assert_eq!(policies.len(), bound.len());
    assert!(policies.len() > 5);
    for policy in policies {
        let name = &policy["metadata"]["name"];
        assert!(bound.contains(&name), "{name}");
        assert_eq!(policy["spec"]["failurePolicy"], "Ignore", "{name}");
        let rules = policy["spec"]["matchConstraints"]["resourceRules"].to_string();
        assert!(!rules.contains('/') && !rules.contains('*'), "{name}: {rules}");
    }
}

/// CEL has no functions of one's own, so the text is there twice.
#[test]
fn both_policies_of_pools_read_addresses_in_the_same_way() {
    let all = policies();
    let variables = |policy: &str| -> BTreeMap<String, String> {
        let policy = all.iter().find(|object| {
            object["kind"] == "ValidatingAdmissionPolicy" && object["metadata"]["name"] == policy
        });
        let variables = policy.unwrap()["spec"]["variables"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        variables.map(|variable| (text(&variable["name"]), text(&variable["expression"]))).collect()
    };
    let (between, within) = (variables("clarion-overlapping-pools"), variables("clarion-pool-addresses"));
    for name in ["hex", "ends", "keys", "intervals"] {
        assert_eq!(between[name], within[name], "{name}");
    }
}
