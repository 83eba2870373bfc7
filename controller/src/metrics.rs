//! What /metrics shows, under MetalLB's names (contract §3.2), so that existing
//! dashboards and alerts go on working.

use std::collections::BTreeMap;
use std::sync::Arc;

use clarion_alloc::PoolCounters;
use clarion_core::PoolName;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Label `pool`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabel {
    pool: String,
}

type PoolGauge = Family<PoolLabel, Gauge>;

/// All metrics of the controller. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Writes to the API server, status and events.
    pub client_updates: Counter,
    /// Those that failed.
    pub client_update_errors: Counter,
    /// Events that did not fit into the queue.
    pub events_dropped: Counter,
    /// Whether a configuration has been read.
    pub config_loaded: Gauge,
    /// Whether some object was set aside, so that what is in force is not what is written.
    pub config_stale: Gauge,
    /// Whether this replica leads.
    pub leading: Gauge,
    /// Load balancers of ours without an address.
    pub pending: Gauge,
    /// Writes of OwnerPlans, which `client_updates` counts too.
    pub plan_writes: Counter,
    /// Layer 2 addresses with a list of owners.
    pub planned_addresses: Gauge,
    /// Those of them that no node may own.
    pub unowned_addresses: Gauge,
    total: PoolGauge,
    total_v4: PoolGauge,
    total_v6: PoolGauge,
    used: PoolGauge,
    used_v4: PoolGauge,
    used_v6: PoolGauge,
    registry: Arc<Registry>,
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("metallb");
        // Counters get their `_total` from the encoding.
        let client_updates = Counter::default();
        registry.register("k8s_client_updates", "Writes to the API server", client_updates.clone());
        let client_update_errors = Counter::default();
        registry.register("k8s_client_update_errors", "Writes that failed", client_update_errors.clone());
        let events_dropped = Counter::default();
        registry.register(
            "k8s_client_events_dropped",
            "Events dropped by a full queue",
            events_dropped.clone(),
        );
        let plan_writes = Counter::default();
        registry.register("layer2_plan_writes", "Writes of OwnerPlans", plan_writes.clone());
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let config_loaded = gauge("k8s_client_config_loaded_bool", "1 once a configuration has been read");
        let config_stale =
            gauge("k8s_client_config_stale_bool", "1 while some object is set aside as invalid");
        let leading = gauge("controller_leading_bool", "1 while this replica holds the Lease");
        let pending = gauge("allocator_services_pending", "Services of type LoadBalancer without an address");
        let planned_addresses = gauge("layer2_addresses_planned", "Layer 2 addresses in the plan");
        let unowned_addresses =
            gauge("layer2_addresses_without_owner", "Layer 2 addresses that no node may own");
        let mut pools = |name: &str, help: &str| {
            let family = PoolGauge::default();
            registry.register(name, help, family.clone());
            family
        };
        Self {
            client_updates,
            client_update_errors,
            events_dropped,
            config_loaded,
            config_stale,
            leading,
            pending,
            plan_writes,
            planned_addresses,
            unowned_addresses,
            total: pools("allocator_addresses_total", "Addresses in the pool"),
            total_v4: pools("allocator_ipv4_addresses_total", "IPv4 addresses in the pool"),
            total_v6: pools("allocator_ipv6_addresses_total", "IPv6 addresses in the pool"),
            used: pools("allocator_addresses_in_use_total", "Addresses of the pool in use"),
            used_v4: pools("allocator_ipv4_addresses_in_use_total", "IPv4 addresses of the pool in use"),
            used_v6: pools("allocator_ipv6_addresses_in_use_total", "IPv6 addresses of the pool in use"),
            registry: Arc::new(registry),
        }
    }

    /// Shows these pools and no others.
    pub fn show_pools(&self, pools: &BTreeMap<PoolName, PoolCounters>) {
        let families =
            [&self.total, &self.total_v4, &self.total_v6, &self.used, &self.used_v4, &self.used_v6];
        for family in families {
            family.clear();
        }
        for (name, counters) in pools {
            let total_v4 = counters.assigned_v4.saturating_add(counters.available_v4);
            let total_v6 = counters.assigned_v6.saturating_add(counters.available_v6);
            let values = [
                total_v4.saturating_add(total_v6),
                total_v4,
                total_v6,
                counters.assigned_v4.saturating_add(counters.assigned_v6),
                counters.assigned_v4,
                counters.assigned_v6,
            ];
            for (family, value) in std::iter::zip(families, values) {
                family.get_or_create(&PoolLabel { pool: name.to_string() }).set(value);
            }
        }
    }

    /// The page, in OpenMetrics' text format.
    #[must_use]
    pub fn page(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_names_of_metallb() {
        let metrics = Metrics::new();
        let counters = PoolCounters { assigned_v4: 2, available_v4: 254, ..PoolCounters::default() };
        metrics.show_pools(&[("gold".into(), counters)].into());
        metrics.client_updates.inc();
        let page = metrics.page();
        for line in [
            "metallb_k8s_client_updates_total 1",
            "metallb_k8s_client_update_errors_total 0",
            "metallb_k8s_client_config_loaded_bool 0",
            "metallb_k8s_client_config_stale_bool 0",
            r#"metallb_allocator_addresses_total{pool="gold"} 256"#,
            r#"metallb_allocator_ipv4_addresses_in_use_total{pool="gold"} 2"#,
            r#"metallb_allocator_ipv6_addresses_total{pool="gold"} 0"#,
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        metrics.show_pools(&BTreeMap::new());
        assert!(!metrics.page().contains("gold"));
    }
}
