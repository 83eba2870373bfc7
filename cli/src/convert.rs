//! `kubectl clarion convert`: the notations of earlier releases to objects for `kubectl apply`.
//!
//! Two are understood: the ConfigMap (0.1 to 0.12), as an object or as its bare text, and
//! AddressPools (0.13, 0.14). Both go through the reader that controller and agents use for
//! the ConfigMap, so that what comes out means what was in force.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use clarion_api::SecretReference;
use clarion_config::Problem;
use clarion_config::legacy::{self, Converted};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::output::Format;

/// What to convert.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Input {
    /// Texts of ConfigMaps, with the namespace if one is written.
    pub(crate) texts: Vec<(Option<String>, String)>,
    /// AddressPools as they are.
    pub(crate) pools: Vec<Value>,
    /// Aliases of Communities, which AddressPools may name.
    pub(crate) aliases: BTreeMap<String, String>,
    /// What there is besides.
    pub(crate) ignored: Vec<String>,
}

/// What comes out.
#[derive(Debug)]
pub(crate) struct Output {
    /// Ready to be applied, those first that others need.
    pub(crate) objects: Vec<Value>,
    /// One line each, for standard error.
    pub(crate) warnings: Vec<String>,
    /// Whether something could not be converted.
    pub(crate) incomplete: bool,
}

/// Tells what is in a file: objects, or the text of a ConfigMap alone.
pub(crate) fn read(text: &str) -> anyhow::Result<Input> {
    let mut input = Input::default();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = serde::Deserialize::deserialize(document);
        // What cannot be read here has its error, with the line, from the reader of the text.
        let Ok(value) = value else {
            return Ok(Input { texts: vec![(None, text.to_owned())], ..Input::default() });
        };
        let value: Value = value;
        if value.get("kind").is_none() && !value.is_null() {
            return Ok(Input { texts: vec![(None, text.to_owned())], ..Input::default() });
        }
        input.take(value);
    }
    if input.texts.is_empty() && input.pools.is_empty() {
        bail!(
            "nothing to convert: there is neither a ConfigMap {:?} with key {:?} nor an AddressPool",
            legacy::NAME,
            legacy::KEY
        );
    }
    Ok(input)
}

impl Input {
    /// Adds an object, or what a list of them has.
    pub(crate) fn take(&mut self, object: Value) {
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        match kind.as_str() {
            "List" | "ConfigMapList" | "AddressPoolList" | "CommunityList" => {
                let item_kind = kind.trim_end_matches("List");
                for mut item in object["items"].as_array().cloned().unwrap_or_default() {
                    // The items of a typed list do not say what they are.
                    if item.get("kind").is_none() {
                        item["kind"] = json!(item_kind);
                    }
                    self.take(item);
                }
            }
            "ConfigMap" => match object["data"][legacy::KEY].as_str() {
                Some(text) => {
                    let namespace = object["metadata"]["namespace"].as_str().map(str::to_owned);
                    self.texts.push((namespace, text.to_owned()));
                }
                None => self.ignored.push(format!("ConfigMap {name} (it has no key {:?})", legacy::KEY)),
            },
            "AddressPool" => self.pools.push(object),
            "Community" => {
                for alias in object["spec"]["communities"].as_array().into_iter().flatten() {
                    if let (Some(name), Some(value)) = (alias["name"].as_str(), alias["value"].as_str()) {
                        self.aliases.insert(name.to_owned(), value.to_owned());
                    }
                }
            }
            "" => {}
            _ => self.ignored.push(format!("{kind} {name}")),
        }
    }

    /// Converts everything. `namespace` is that of the objects unless a ConfigMap says another
    /// and nobody asked (`forced`).
    pub(crate) fn convert(&self, namespace: &str, forced: bool, inline: bool) -> anyhow::Result<Output> {
        let mut output = Output { objects: Vec::new(), warnings: Vec::new(), incomplete: false };
        let ignored = self.ignored.iter().map(|what| format!("left alone: {what}"));
        output.warnings.extend(ignored);
        for (written, text) in &self.texts {
            let namespace = written.as_deref().filter(|_| !forced).unwrap_or(namespace);
            let converted =
                legacy::convert(namespace, text).map_err(|problem| anyhow::anyhow!("{problem}"))?;
            output.add(namespace, converted, inline, ToString::to_string)?;
        }
        if !self.pools.is_empty() {
            let text = text_of(&self.pools, &self.aliases).context("cannot write down the AddressPools")?;
            let mut converted = legacy::convert(namespace, &text)
                .map_err(|problem| anyhow::anyhow!("AddressPools: {}", problem.message))?;
            // They exist already.
            converted.communities.clear();
            let names: Vec<_> =
                self.pools.iter().map(|pool| pool["metadata"]["name"].as_str().unwrap_or_default()).collect();
            output.add(namespace, converted, inline, |problem| of_address_pools(problem, &names))?;
        }
        Ok(output)
    }
}

/// AddressPools as the text of a ConfigMap: the fields are its keys, spelled another way.
fn text_of(pools: &[Value], aliases: &BTreeMap<String, String>) -> serde_json::Result<String> {
    fn renamed(object: &Value, keys: &[(&str, &str)]) -> Map<String, Value> {
        let fields = object.as_object().into_iter().flatten();
        let key = |name: &str| {
            keys.iter().find(|(field, _)| *field == name).map_or(name, |(_, key)| key).to_owned()
        };
        fields.map(|(name, value)| (key(name), value.clone())).collect()
    }
    let pool = |object: &Value| {
        let mut pool = renamed(
            &object["spec"],
            &[
                ("autoAssign", "auto-assign"),
                ("avoidBuggyIPs", "avoid-buggy-ips"),
                ("bgpAdvertisements", "bgp-advertisements"),
            ],
        );
        pool.insert("name".to_owned(), object["metadata"]["name"].clone());
        if let Some(Value::Array(advertisements)) = pool.get_mut("bgp-advertisements") {
            let keys = [
                ("aggregationLength", "aggregation-length"),
                ("aggregationLengthV6", "aggregation-length-v6"),
                ("localPref", "localpref"),
            ];
            for advertisement in advertisements {
                *advertisement = Value::Object(renamed(advertisement, &keys));
            }
        }
        Value::Object(pool)
    };
    let text =
        json!({"address-pools": pools.iter().map(pool).collect::<Vec<_>>(), "bgp-communities": aliases});
    // Every JSON is YAML.
    serde_json::to_string_pretty(&text)
}

/// `config: address-pools[2].x: …` to `AddressPool NAME: x: …`.
fn of_address_pools(problem: &Problem, names: &[&str]) -> String {
    let path = problem.field.strip_prefix("config: address-pools[").unwrap_or(&problem.field);
    let found =
        path.split_once(']').and_then(|(index, rest)| Some((names.get(index.parse::<usize>().ok()?)?, rest)));
    match found {
        Some((name, rest)) => {
            format!("AddressPool {name}: {}: {}", rest.trim_start_matches('.'), problem.message)
        }
        None => format!("AddressPools: {}: {}", problem.field, problem.message),
    }
}

impl Output {
    fn add(
        &mut self,
        namespace: &str,
        converted: Converted,
        inline: bool,
        describe: impl Fn(&Problem) -> String,
    ) -> anyhow::Result<()> {
        for problem in &converted.problems {
            self.incomplete = true;
            self.warnings.push(format!("left out: {}", describe(problem)));
        }
        for (written, name) in &converted.renamed {
            self.warnings.push(format!(
                "pool {written:?} is now {name:?}: Services that ask for it by annotation metallb.io/address-pool must name it so"
            ));
        }
        let mut peers = converted.peers;
        let mut secrets = Vec::new();
        for peer in peers.iter_mut().filter(|_| !inline) {
            let Some(password) = peer.spec.password.take() else { continue };
            let name = format!("{}-password", peer.metadata.name.as_deref().unwrap_or_default());
            secrets.push(json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
                "metadata": {"name": name, "namespace": namespace}, "stringData": {"password": password},
            }));
            peer.spec.password_secret = Some(SecretReference { name: Some(name), namespace: None });
        }
        self.push(&converted.communities)?;
        self.push(&converted.bfd)?;
        self.objects.extend(secrets);
        self.push(&peers)?;
        self.push(&converted.l2)?;
        self.push(&converted.bgp)?;
        // Last: with the first of them the ConfigMap ceases to count.
        self.push(&converted.pools)
    }

    fn push<K: Serialize>(&mut self, objects: &[K]) -> anyhow::Result<()> {
        for object in objects {
            let mut value = serde_json::to_value(object)?;
            bare(&mut value);
            self.objects.push(value);
        }
        Ok(())
    }

    /// The objects as kubectl takes them.
    pub(crate) fn print(&self, format: Format) -> anyhow::Result<String> {
        if format == Format::Json {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": self.objects});
            return Ok(serde_json::to_string_pretty(&list)?);
        }
        let documents: Vec<_> = self.objects.iter().map(serde_yaml::to_string).collect::<Result<_, _>>()?;
        Ok(documents.join("---\n"))
    }
}

/// Leaves out what says nothing: a status, nulls, switches that are off.
fn bare(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|name, value| name != "status" && !value.is_null());
    }
    for part in ["metadata", "spec"] {
        if let Some(fields) = object[part].as_object_mut() {
            let off = |name: &str| matches!(name, "disableMP" | "dualStackAddressFamily");
            fields.retain(|name, value| !(value.is_null() || off(name) && *value == json!(false)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
peers: [{peer-address: 10.0.0.1, peer-asn: 100, my-asn: 42, password: secret}]
address-pools:
- {name: default, protocol: bgp, cidr: [192.168.10.0/24]}
- {name: Near, protocol: layer2, addresses: [10.1.0.0/24]}
";

    fn configmap() -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config", "namespace": "lb"},
            "data": {"config": TEXT}})
    }

    fn names(output: &Output) -> Vec<String> {
        let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let all = output.objects.iter();
        all.map(|o| {
            format!(
                "{} {}/{}",
                word(&o["kind"]),
                word(&o["metadata"]["namespace"]),
                word(&o["metadata"]["name"])
            )
        })
        .collect()
    }

    #[test]
    fn a_configmap_its_text_and_a_list_give_the_same_objects() {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [configmap()]}).to_string();
        let yaml = serde_yaml::to_string(&configmap()).unwrap();
        for text in [TEXT, &yaml, &list, &format!("{yaml}---\n")] {
            let output = read(text).unwrap().convert("lb", false, false).unwrap();
            assert_eq!(
                names(&output),
                [
                    "Secret lb/peer-10-0-0-1-password",
                    "BGPPeer lb/peer-10-0-0-1",
                    "L2Advertisement lb/near",
                    "BGPAdvertisement lb/default-1",
                    "IPAddressPool lb/default",
                    "IPAddressPool lb/near",
                ],
                "{text}"
            );
            assert_eq!(output.objects[0]["stringData"], json!({"password": "secret"}));
            assert_eq!(
                output.objects[1]["spec"]["passwordSecret"],
                json!({"name": "peer-10-0-0-1-password"})
            );
            assert_eq!(output.objects[1]["spec"].get("password"), None);
            assert_eq!(output.warnings.len(), 1, "{:?}", output.warnings);
            assert!(output.warnings[0].contains(r#"pool "Near" is now "near""#), "{:?}", output.warnings);
        }
    }

    #[test]
    fn the_namespace_is_the_configmaps_unless_another_is_asked_for() {
        let input = read(&configmap().to_string()).unwrap();
        for (forced, expected) in [(false, "lb"), (true, "mine")] {
            let output = input.convert("mine", forced, true).unwrap();
            assert!(output.objects.iter().all(|o| o["metadata"]["namespace"] == expected));
            assert_eq!(output.objects[0]["spec"]["password"], "secret");
        }
    }

    #[test]
    fn address_pools_become_pools_with_advertisements() {
        let pool = |name: &str, spec: Value| json!({"apiVersion": "metallb.io/v1beta1", "kind": "AddressPool", "metadata": {"name": name}, "spec": spec});
        let input = json!({"kind": "List", "items": [
            {"kind": "Community", "metadata": {"name": "c"}, "spec": {"communities": [{"name": "vpn", "value": "1234:1"}]}},
            {"kind": "Service", "metadata": {"name": "web"}},
            pool("near", json!({"protocol": "layer2", "addresses": ["10.1.0.0/24"], "autoAssign": false})),
            pool("far", json!({"protocol": "bgp", "addresses": ["10.2.0.0/24"], "bgpAdvertisements": [
                {"aggregationLength": 24, "aggregationLengthV6": 128, "localPref": 7, "communities": ["vpn"]}]})),
            pool("bad", json!({"protocol": "layer2", "addresses": ["10.2.0.9"]})),
        ]});
        let output = read(&input.to_string()).unwrap().convert("lb", false, false).unwrap();
        assert_eq!(
            names(&output),
            [
                "L2Advertisement lb/near",
                "BGPAdvertisement lb/far-1",
                "IPAddressPool lb/near",
                "IPAddressPool lb/far"
            ]
        );
        assert_eq!(output.objects[1]["spec"]["localPref"], 7);
        assert_eq!(output.objects[2]["spec"]["autoAssign"], false);
        assert!(output.incomplete);
        assert!(
            output.warnings.iter().any(|w| w.starts_with("left alone: Service web")),
            "{:?}",
            output.warnings
        );
        let said = r#"left out: AddressPool bad: addresses[0]: invalid CIDR "10.2.0.9""#;
        assert!(output.warnings.iter().any(|w| w.starts_with(said)), "{:?}", output.warnings);
    }

    #[test]
    fn what_cannot_be_read_says_the_line() {
        let error = read("address-pools: [\n").unwrap().convert("lb", false, false).unwrap_err();
        assert!(error.to_string().contains("could not parse config: line 1"), "{error}");
        assert!(read("kind: Service\n").unwrap_err().to_string().contains("nothing to convert"));
    }
}
