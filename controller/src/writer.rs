//! Writes what was planned for a Service: one request, with nothing read before.
//!
//! A merge patch of `services/status` carries status and annotation together (the API
//! server stores annotations that come with a status update, which MetalLB uses too),
//! and `resourceVersion` makes it conditional: whoever changed the Service meanwhile wins,
//! and the plan is made anew.

use std::sync::Arc;
use std::time::Instant;

use clarion_api::annotations::ServiceAnnotation;
use clarion_core::ServiceKey;
use clarion_daemon::{Answer, Refusals};
use k8s_openapi::api::core::v1::Service;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Map, Value, json};

use crate::fence::{Fence, TIMEOUT, Unwritten};
use crate::planner::StatusWrite;
use crate::rival;
pub use crate::rival::FIELD_MANAGER;
use crate::service::ServiceView;
use crate::state::Written;

/// The log's words for what is written here.
pub const WHAT: &str = "the status of Services";

/// The body of the patch.
#[must_use]
pub fn payload(write: &StatusWrite) -> Value {
    let annotation = ServiceAnnotation::IpAllocatedFromPool;
    let mut annotations = Map::new();
    annotations
        .insert(annotation.key().to_owned(), json!(write.pool.as_ref().map(clarion_core::PoolName::as_str)));
    if write.remove_deprecated {
        annotations.insert(annotation.deprecated_key().to_owned(), Value::Null);
    }
    let ingress: Vec<Value> = write.addresses.iter().map(|ip| json!({"ip": ip})).collect();
    json!({
        "metadata": {"resourceVersion": write.resource_version, "annotations": annotations},
        // A merge patch replaces lists as a whole, and null removes.
        "status": {"loadBalancer": {"ingress": if ingress.is_empty() { Value::Null } else { json!(ingress) }}},
    })
}

/// Writes it, if this process leads. Failures are told to `refusals` and come back as what to
/// do next.
pub async fn write(
    client: &Client,
    fence: &Fence,
    refusals: &Refusals,
    class: Option<&str>,
    write: &StatusWrite,
) -> Written {
    let api: Api<Service> = Api::namespaced(client.clone(), write.key.namespace());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let body = Patch::Merge(payload(write));
    match fence.write(api.patch_status(write.key.name(), &params, &body)).await {
        Ok(service) => Written::Done(ServiceView::read(&service, class).map(Arc::new)),
        Err(Unwritten::Api(kube::Error::Api(status))) if status.is_conflict() || status.is_not_found() => {
            Written::Stale
        }
        Err(Unwritten::NotLeading) => Written::Failed,
        Err(error) => match refusals.refused(Instant::now(), WHAT, &write.key, &error) {
            Answer::No(_) => Written::Refused,
            Answer::None => Written::Failed,
        },
    }
}

/// Who else writes the status of a Service, by what the API server has now; `None` where nobody
/// can be named.
pub async fn other(client: &Client, key: &ServiceKey) -> Option<String> {
    let api: Api<Service> = Api::namespaced(client.clone(), key.namespace());
    // A list, since that right is needed anyway.
    let this = ListParams::default().fields(&format!("metadata.name={}", key.name()));
    let found = tokio::time::timeout(TIMEOUT, api.list_metadata(&this)).await.ok()?.ok()?;
    let fields = found.items.into_iter().next()?.metadata.managed_fields?;
    rival::other_writer(&fields).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clarion_core::{ServiceKey, VipSet};

    fn planned(addresses: &[&str], pool: Option<&str>, remove_deprecated: bool) -> StatusWrite {
        StatusWrite {
            key: ServiceKey::new("ns", "x"),
            resource_version: "7".into(),
            addresses: VipSet::from_addresses(addresses.iter().map(|a| a.parse().unwrap())).unwrap(),
            pool: pool.map(Into::into),
            remove_deprecated,
        }
    }

    #[test]
    fn payloads_are_minimal() {
        assert_eq!(
            payload(&planned(&["2001:db8::1", "192.0.2.1"], Some("gold"), false)),
            json!({
                "metadata": {"resourceVersion": "7", "annotations": {"metallb.io/ip-allocated-from-pool": "gold"}},
                "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}]}},
            })
        );
        assert_eq!(
            payload(&planned(&[], None, true)),
            json!({
                "metadata": {"resourceVersion": "7", "annotations": {
                    "metallb.io/ip-allocated-from-pool": null,
                    "metallb.universe.tf/ip-allocated-from-pool": null,
                }},
                "status": {"loadBalancer": {"ingress": null}},
            })
        );
    }
}
