//! The controller's plan of layer 2 owners as the ownership machine takes it, and
//! how to reach the nodes that it names: pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use clarion_api::OwnerPlanSpec;
use clarion_config::planned_address;
use clarion_core::NodeName;
use clarion_fence::{Key, NodeId, tag_bytes};
use clarion_l2::machine::{Placement, Plan, node_id};

use super::Vip;
use crate::view::Node;

/// What one OwnerPlan object says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Part {
    /// Addresses, each with who may own it.
    pub places: Vec<(IpAddr, Arc<Placement>)>,
    /// Nodes with an agent, each with its voters by rank.
    pub members: Vec<(NodeName, Vec<NodeId>)>,
    /// Owners stay wherever they are.
    pub stay: bool,
}

impl Part {
    /// Reads an object. What cannot be read is left out: the controller writes it anew.
    #[must_use]
    pub fn read(plan: &OwnerPlanSpec) -> Self {
        let id = |name: &NodeName| node_id(name);
        let place = |(address, list): (IpAddr, clarion_core::OwnerList)| {
            // A greater epoch is the controller's word that the address shall be with the
            // first node: whoever has it hands it over.
            (
                address,
                Arc::new(Placement {
                    epoch: list.epoch,
                    moves: true,
                    nodes: list.owners.iter().map(id).collect(),
                }),
            )
        };
        let voters = |texts: &[String]| texts.iter().map(|text| id(&NodeName::new(text.as_str()))).collect();
        let members = plan.members.iter();
        Self {
            places: plan.addresses.iter().filter_map(planned_address).map(place).collect(),
            members: members.map(|m| (NodeName::new(m.node.as_str()), voters(&m.voters))).collect(),
            stay: plan.stay,
        }
    }
}

/// A node with an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fellow {
    /// Its name.
    pub name: NodeName,
    /// Where its agent and its kernel listen; `None` while the Node names no address of a
    /// family that this node has, too.
    pub address: Option<IpAddr>,
}

/// All that ownership needs of the API server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owners {
    /// The plan; `None` until one is known in which this node has a place. Its version grows with
    /// each change.
    pub plan: Option<Arc<Plan>>,
    /// The nodes of the plan, this one included.
    pub fellows: BTreeMap<NodeId, Fellow>,
    /// The cluster's key; `None` until its Secret is there.
    pub key: Option<Key>,
}

impl Owners {
    /// The plan that these objects make together. `l2` are the addresses that there are;
    /// `former` is what this returned before.
    #[must_use]
    pub fn new<'a>(
        me: &NodeName,
        parts: impl Iterator<Item = &'a Part>,
        nodes: &BTreeMap<NodeName, Node>,
        l2: &BTreeMap<IpAddr, Vip>,
        key: Option<Key>,
        former: &Self,
    ) -> Self {
        let (mut plan, mut names) = (Plan::default(), BTreeMap::new());
        for part in parts {
            for (address, place) in part.places.iter().filter(|(address, _)| l2.contains_key(address)) {
                // On its way from one object to another: the greater epoch counts.
                let known = plan.places.get(address);
                if known.is_none_or(|known| known.epoch < place.epoch) {
                    plan.places.insert(*address, Arc::clone(place));
                }
            }
            plan.stay |= part.stay;
            for (name, voters) in &part.members {
                names.insert(node_id(name), name.clone());
                plan.voters.insert(node_id(name), voters.clone());
            }
        }
        plan.nodes = names.keys().copied().collect();
        plan.barred = l2.iter().filter(|(_, vip)| vip.barred).map(|(address, _)| *address).collect();
        let key = key.or(former.key);
        if !plan.nodes.contains(&node_id(me)) {
            // Without voters this node would take itself for the only one.
            return Self { plan: former.retained(l2), fellows: former.fellows.clone(), key };
        }
        if let Some(before) = &former.plan {
            // Somebody deleted an object: what it said holds until it is written again.
            let lost = before.places.iter().filter(|(address, _)| l2.contains_key(address));
            for (address, place) in lost {
                plan.places.entry(*address).or_insert_with(|| Arc::clone(place));
            }
        }
        let plan = renewed(plan, former.plan.as_ref());
        let mine = addresses(nodes, me);
        let fellow = |(id, name): (NodeId, NodeName)| {
            let address = reachable(mine, addresses(nodes, &name));
            (id, Fellow { name, address })
        };
        let fellows = names.into_iter().map(fellow).collect();
        Self { plan: Some(plan), fellows, key }
    }

    /// The former plan without addresses that are no more.
    fn retained(&self, l2: &BTreeMap<IpAddr, Vip>) -> Option<Arc<Plan>> {
        let plan = self.plan.as_ref()?;
        if plan.places.keys().all(|address| l2.contains_key(address)) {
            return Some(Arc::clone(plan));
        }
        let mut smaller = Plan::clone(plan);
        smaller.places.retain(|address, _| l2.contains_key(address));
        Some(renewed(smaller, Some(plan)))
    }
}

/// The plan under the next version, or the former one if it says the same.
fn renewed(mut plan: Plan, former: Option<&Arc<Plan>>) -> Arc<Plan> {
    let Some(former) = former else { return Arc::new(Plan { version: 1, ..plan }) };
    plan.version = former.version;
    if plan == **former {
        return Arc::clone(former);
    }
    plan.version += 1;
    Arc::new(plan)
}

fn addresses<'a>(nodes: &'a BTreeMap<NodeName, Node>, name: &NodeName) -> &'a [IpAddr] {
    nodes.get(name).map_or(&[], |node| &node.addresses)
}

/// The first of a node's addresses that is of a family of ours.
fn reachable(mine: &[IpAddr], theirs: &[IpAddr]) -> Option<IpAddr> {
    theirs.iter().copied().find(|address| mine.iter().any(|own| own.is_ipv4() == address.is_ipv4()))
}

/// The key in the cluster's Secret: any text, of which the tags' key and its number are
/// derived, so that the keys that MetalLB's controller makes serve as well.
#[must_use]
pub fn cluster_key(secret: &[u8]) -> Option<Key> {
    let part = |id: u64| tag_bytes(&Key { id, k0: 0x636c_6172_696f_6e00, k1: 0x6b65_7973 ^ id }, secret);
    let number = u8::try_from(part(3) % 255 + 1).ok()?;
    (!secret.is_empty()).then(|| Key { id: u64::from(number), k0: part(1), k1: part(2) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn part(spec: &serde_json::Value) -> Part {
        Part::read(&serde_json::from_value(spec.clone()).unwrap())
    }

    fn vips(addresses: &[&str]) -> BTreeMap<IpAddr, Vip> {
        let vip = || Vip {
            ownable: true,
            barred: false,
            interfaces: super::super::Interfaces::All,
            services: BTreeSet::new(),
        };
        addresses.iter().map(|text| (text.parse().unwrap(), vip())).collect()
    }

    fn nodes(addresses: &[(&str, &[&str])]) -> BTreeMap<NodeName, Node> {
        let node = |all: &[&str]| Node {
            addresses: all.iter().map(|a| a.parse().unwrap()).collect(),
            ..Node::default()
        };
        addresses.iter().map(|(name, all)| (NodeName::from(*name), node(all))).collect()
    }

    fn id(name: &str) -> NodeId {
        node_id(&name.into())
    }

    fn epochs(owners: &Owners) -> Vec<(String, u64)> {
        let places = &owners.plan.as_ref().unwrap().places;
        places.iter().map(|(address, place)| (address.to_string(), place.epoch)).collect()
    }

    #[test]
    fn objects_make_one_plan_with_the_greater_epoch_of_each_address_that_there_is() {
        let parts = [
            part(&json!({"addresses": [
                {"address": "192.0.2.1", "epoch": 7, "owners": ["a", "b"]},
                {"address": "192.0.2.9", "epoch": 7, "owners": ["a"]},
                {"address": "nonsense", "epoch": 7, "owners": ["a"]},
            ]})),
            part(&json!({"addresses": [{"address": "192.0.2.1", "epoch": 9, "owners": ["b"]}]})),
            part(&json!({"members": [{"node": "a", "voters": ["b"]}, {"node": "b", "voters": ["a"]}]})),
        ];
        let nodes = nodes(&[("a", &["10.0.0.1", "fd00::1"]), ("b", &["fd00::2", "10.0.0.2"])]);
        let new = |l2: &[&str], former: &Owners| {
            Owners::new(&"a".into(), parts.iter(), &nodes, &vips(l2), None, former)
        };
        let owners = new(&["192.0.2.1"], &Owners::default());
        let plan = owners.plan.clone().unwrap();
        let place = Arc::new(Placement { epoch: 9, moves: true, nodes: vec![id("b")] });
        assert_eq!(plan.places, [("192.0.2.1".parse().unwrap(), place)].into());
        assert_eq!(plan.voters, [(id("a"), vec![id("b")]), (id("b"), vec![id("a")])].into());
        assert_eq!(owners.fellows[&id("b")].address, "fd00::2".parse().ok());
        // Two objects are deleted by somebody: what they said holds, but for addresses that are gone.
        let later = Owners::new(&"a".into(), parts[2..].iter(), &nodes, &vips(&["192.0.2.1"]), None, &owners);
        assert_eq!(later, owners);
        let none = Owners::new(&"a".into(), [].iter(), &nodes, &vips(&["192.0.2.1"]), None, &owners);
        assert_eq!(none, owners);
        let gone = Owners::new(&"a".into(), [].iter(), &nodes, &vips(&[]), None, &owners);
        assert_eq!(epochs(&gone), []);
    }

    #[test]
    fn what_a_node_may_not_own_and_whether_owners_stay_is_part_of_the_plan() {
        let part = part(&json!({"members": [{"node": "a"}], "stay": true}));
        let mut l2 = vips(&["192.0.2.1", "192.0.2.2"]);
        l2.values_mut().next().unwrap().barred = true;
        let owners = Owners::new(&"a".into(), [part].iter(), &nodes(&[]), &l2, None, &Owners::default());
        let plan = owners.plan.unwrap();
        assert_eq!(plan.barred, ["192.0.2.1".parse().unwrap()].into());
        assert!(plan.stay);
    }

    #[test]
    fn without_its_voters_a_node_has_no_plan() {
        let parts = [
            part(&json!({"addresses": [{"address": "192.0.2.1", "epoch": 7, "owners": ["a"]}]})),
            part(&json!({"members": [{"node": "b", "voters": ["c"]}, {"node": "c", "voters": ["b"]}]})),
        ];
        let l2 = vips(&["192.0.2.1"]);
        let owners = Owners::new(&"a".into(), parts.iter(), &nodes(&[]), &l2, None, &Owners::default());
        assert_eq!(owners.plan, None);
        let owners = Owners::new(&"b".into(), parts.iter(), &nodes(&[]), &l2, None, &Owners::default());
        assert_eq!(epochs(&owners), [("192.0.2.1".to_owned(), 7)]);
        assert_eq!(owners.fellows[&id("c")].address, None, "no Node of that name is known");
    }

    #[test]
    fn keys_follow_from_the_secret_and_have_numbers() {
        let keys = ["a", "b", "c"].map(|text| cluster_key(text.as_bytes()).unwrap());
        assert_eq!(keys[0], cluster_key(b"a").unwrap());
        assert!(keys[0].k0 != keys[1].k0 && keys[0].k0 != keys[0].k1);
        assert!(keys.iter().all(|key| (1..=255).contains(&key.id)));
        assert_eq!(cluster_key(b""), None);
    }
}
