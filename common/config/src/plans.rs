//! OwnerPlan objects read back: by the controller when it begins to lead, by whoever acts on
//! them. Objects are read one by one, in any order.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clarion_api::{OwnerPlan, PlannedAddress};
use clarion_core::{NodeName, OwnerList};

/// What all OwnerPlans together say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plans {
    /// Who may own each layer 2 address.
    pub addresses: BTreeMap<IpAddr, OwnerList>,
    /// The voters of each node that has an agent.
    pub members: BTreeMap<NodeName, Vec<NodeName>>,
}

impl Plans {
    /// Takes in one object. While addresses are on their way from one object to another, the
    /// higher epoch counts. What cannot be read is left out: the controller
    /// writes it anew.
    pub fn add(&mut self, plan: &OwnerPlan) {
        for (address, list) in plan.spec.addresses.iter().filter_map(planned_address) {
            let known = self.addresses.get(&address);
            if known.is_none_or(|known| known.epoch < list.epoch) {
                self.addresses.insert(address, list);
            }
        }
        for member in &plan.spec.members {
            self.members.insert(NodeName::new(member.node.as_str()), names(&member.voters));
        }
    }
}

/// One entry of an OwnerPlan; `None` if it cannot be read.
#[must_use]
pub fn planned_address(entry: &PlannedAddress) -> Option<(IpAddr, OwnerList)> {
    let address = entry.address.parse().ok()?;
    let epoch = u64::try_from(entry.epoch).ok()?;
    Some((address, OwnerList { epoch, owners: names(&entry.owners) }))
}

fn names(texts: &[String]) -> Vec<NodeName> {
    texts.iter().map(|text| NodeName::new(text.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plan(addresses: &serde_json::Value) -> OwnerPlan {
        let object = json!({
            "apiVersion": "clarion.dev/v1alpha1", "kind": "OwnerPlan",
            "metadata": {"name": "addresses-0"},
            "spec": {"addresses": addresses, "members": [{"node": "a", "voters": ["b"]}]},
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn plans_are_read_in_any_order_and_the_higher_epoch_counts() {
        let old = plan(&json!([{"address": "192.0.2.1", "epoch": 7, "owners": ["a", "b"]}]));
        let new = plan(&json!([
            {"address": "192.0.2.1", "epoch": 9, "owners": ["b"]},
            {"address": "2001:db8::1", "epoch": 1, "reason": "noLocalEndpoints: 3 nodes"},
            {"address": "nonsense", "epoch": 1},
            {"address": "192.0.2.2", "epoch": -1},
        ]));
        let read = |objects: [&OwnerPlan; 2]| {
            let mut plans = Plans::default();
            objects.into_iter().for_each(|object| plans.add(object));
            plans
        };
        let plans = read([&old, &new]);
        assert_eq!(plans, read([&new, &old]));
        assert_eq!(plans.addresses.len(), 2, "{plans:?}");
        let list = &plans.addresses[&"192.0.2.1".parse::<IpAddr>().unwrap()];
        assert_eq!((list.epoch, list.owner()), (9, Some(&"b".into())));
        assert_eq!(plans.members, [("a".into(), vec!["b".into()])].into());
    }
}
