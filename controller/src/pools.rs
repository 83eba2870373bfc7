//! From the configuration to what the allocator understands: pools, and which of
//! them a Service may use (contract §2.3 rule 6, §2.4).

use std::collections::BTreeMap;
use std::sync::Arc;

use clarion_alloc::{Eligible, PoolSpec};
use clarion_config::{Config, Pool};
use clarion_core::{Labels, PoolName, ServiceKey};

/// The pools as the allocator takes them.
#[must_use]
pub fn specs(config: &Config) -> Vec<PoolSpec> {
    let spec = |pool: &Pool| PoolSpec {
        name: pool.name.clone(),
        ranges: pool.ranges.clone(),
        exclude: pool.exclude.clone(),
        avoid_buggy_ips: pool.avoid_buggy_ips,
    };
    config.pools.values().map(spec).collect()
}

/// Whether any pool looks at the labels of namespaces.
#[must_use]
pub fn need_namespaces(config: &Config) -> bool {
    let allocations = config.pools.values().filter_map(|pool| pool.allocation.as_ref());
    allocations.into_iter().any(|allocation| !allocation.namespace_selectors.is_empty())
}

/// The pools that a Service may use. First the pools meant for it, by priority
/// (1 best, 0 last), then those for everybody; each by name.
#[must_use]
pub fn eligible(
    pools: &BTreeMap<PoolName, Pool>,
    service: &ServiceKey,
    labels: &Labels,
    namespace_labels: &Labels,
) -> Eligible {
    let mut eligible = Eligible::default();
    let mut pinned: Vec<(u32, &PoolName)> = Vec::new();
    for (name, pool) in pools {
        let priority = match &pool.allocation {
            None => None,
            Some(allocation) if allocation.matches(service, labels, namespace_labels) => {
                // Zero, which means unset, becomes the largest.
                Some(allocation.priority.wrapping_sub(1))
            }
            Some(_) => continue,
        };
        eligible.compatible.insert(name.clone());
        match priority {
            _ if !pool.auto_assign => {}
            Some(priority) => pinned.push((priority, name)),
            None => eligible.common.push(name.clone()),
        }
    }
    pinned.sort();
    eligible.pinned = pinned.into_iter().map(|(_, name)| name.clone()).collect();
    eligible
}

/// Remembers [`eligible`] per namespace and labels: Services are many, kinds of them few.
#[derive(Debug, Default)]
pub struct EligibleCache {
    known: BTreeMap<(String, Arc<Labels>), Arc<Eligible>>,
    /// With no serviceAllocation at all, one answer is everybody's.
    everybody: Option<Arc<Eligible>>,
}

/// Combinations remembered. Services with labels of their own each would make the
/// memory grow for nothing; past this it starts anew.
const MOST_REMEMBERED: usize = 4096;

impl EligibleCache {
    /// Forgets everything: pools or namespaces have changed.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The pools that a Service may use.
    pub fn get(
        &mut self,
        pools: &BTreeMap<PoolName, Pool>,
        service: &ServiceKey,
        labels: &Arc<Labels>,
        namespace_labels: &Labels,
    ) -> Arc<Eligible> {
        let compute = || Arc::new(eligible(pools, service, labels, namespace_labels));
        if pools.values().all(|pool| pool.allocation.is_none()) {
            return Arc::clone(self.everybody.get_or_insert_with(compute));
        }
        if self.known.len() >= MOST_REMEMBERED {
            self.known.clear();
        }
        let slot = self.known.entry((service.namespace().to_owned(), Arc::clone(labels)));
        Arc::clone(slot.or_insert_with(compute))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clarion_config::ServiceAllocation;
    use clarion_core::LabelSelector;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn pool(name: &str, auto_assign: bool, allocation: Option<ServiceAllocation>) -> (PoolName, Pool) {
        let pool = Pool {
            name: name.into(),
            labels: Labels::new(),
            ranges: vec![],
            exclude: vec![],
            auto_assign,
            avoid_buggy_ips: false,
            allocation,
        };
        (name.into(), pool)
    }

    fn priority(priority: u32) -> Option<ServiceAllocation> {
        Some(ServiceAllocation { priority, ..ServiceAllocation::default() })
    }

    #[test]
    fn pools_are_tried_in_the_order_of_section_2_3() {
        let for_namespace = |name: &str| {
            Some(ServiceAllocation { namespaces: [name.to_owned()].into(), ..ServiceAllocation::default() })
        };
        let by_label = Some(ServiceAllocation {
            namespace_selectors: vec![LabelSelector::new(labels(&[("team", "x")]), vec![])],
            service_selectors: vec![LabelSelector::new(labels(&[("tier", "web")]), vec![])],
            priority: 1,
            ..ServiceAllocation::default()
        });
        let pools: BTreeMap<_, _> = [
            pool("everybody", true, None),
            pool("anybody", true, None),
            pool("last", true, priority(0)),
            pool("second", true, priority(20)),
            pool("first", true, priority(3)),
            pool("named", false, None),
            pool("elsewhere", true, for_namespace("other")),
            pool("here", true, for_namespace("ns")),
            pool("labelled", true, by_label),
        ]
        .into();
        let order = |service: &[(&str, &str)], namespace: &[(&str, &str)]| {
            let found = eligible(&pools, &ServiceKey::new("ns", "x"), &labels(service), &labels(namespace));
            let names =
                |list: Vec<PoolName>| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            let automatic = format!("{} | {}", names(found.pinned), names(found.common));
            (automatic, names(found.compatible.into_iter().collect()))
        };
        let plain = (
            "first second here last | anybody everybody".to_owned(),
            "anybody everybody first here last named second".to_owned(),
        );
        assert_eq!(order(&[], &[]), plain);
        assert_eq!(order(&[("tier", "web")], &[]), plain);
        assert_eq!(order(&[], &[("team", "x")]), plain);
        assert_eq!(
            order(&[("tier", "web")], &[("team", "x")]).0,
            "labelled first second here last | anybody everybody"
        );
    }
}
