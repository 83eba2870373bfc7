//! The two kinds of status object, as one trait, and the watches of this node's.

use clarion_api::{
    LABEL_NODE, LABEL_SERVICE_NAME, LABEL_SERVICE_NAMESPACE, ServiceBGPStatus, ServiceL2Status,
};
use clarion_core::ServiceKey;
use clarion_daemon::Object;
use clarion_daemon::watch::{Edit, Watches};
use kube::api::{ApiResource, ObjectMeta};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::plan::{Existing, Kind, Names};
use crate::args::Args;

/// What the watches of this node's objects say: of which kind, and by name.
pub(super) type Seen = (Kind, Edit<String, Existing>);

/// What both kinds of status object have in common.
pub(super) trait StatusObject:
    Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    const KIND: Kind;
    const PREFIX: &'static str;
    fn empty(meta: ObjectMeta) -> Self;
    /// Node and names of the status.
    fn said(&self) -> Option<(String, Names)>;
    /// The status to write.
    fn status(node: &str, service: &ServiceKey, names: &Names) -> serde_json::Value;
}

impl StatusObject for ServiceL2Status {
    const KIND: Kind = Kind::L2;
    const PREFIX: &'static str = "l2-";

    fn empty(meta: ObjectMeta) -> Self {
        Self { metadata: meta, spec: clarion_api::ServiceL2StatusSpec {}, status: None }
    }

    fn said(&self) -> Option<(String, Names)> {
        let status = self.status.as_ref()?;
        Some((status.node.clone()?, status.interfaces.iter().filter_map(|i| i.name.clone()).collect()))
    }

    fn status(node: &str, service: &ServiceKey, names: &Names) -> serde_json::Value {
        let interfaces: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
        json!({ "status": {
            "node": node, "serviceName": service.name(), "serviceNamespace": service.namespace(),
            "interfaces": interfaces,
        }})
    }
}

impl StatusObject for ServiceBGPStatus {
    const KIND: Kind = Kind::Bgp;
    const PREFIX: &'static str = "bgp-";

    fn empty(meta: ObjectMeta) -> Self {
        Self { metadata: meta, spec: clarion_api::ServiceBGPStatusSpec {}, status: None }
    }

    fn said(&self) -> Option<(String, Names)> {
        let status = self.status.as_ref()?;
        Some((status.node.clone()?, status.peers.iter().cloned().collect()))
    }

    fn status(node: &str, service: &ServiceKey, names: &Names) -> serde_json::Value {
        json!({ "status": {
            "node": node, "serviceName": service.name(), "serviceNamespace": service.namespace(), "peers": names,
        }})
    }
}

/// Starts the watches of this node's status objects.
pub(super) fn follow(
    client: &Client,
    watches: &Watches,
    args: &Args,
    seen: &mpsc::Sender<Seen>,
    tasks: &mut JoinSet<()>,
) {
    tasks.spawn(follow_kind::<ServiceL2Status>(client, watches, args, seen.clone()));
    tasks.spawn(follow_kind::<ServiceBGPStatus>(client, watches, args, seen.clone()));
}

fn follow_kind<K: StatusObject>(
    client: &Client,
    watches: &Watches,
    args: &Args,
    seen: mpsc::Sender<Seen>,
) -> impl Future<Output = ()> + Send + use<K> {
    let node = args.node_name.clone();
    watches
        .of(client, &ApiResource::erase::<K>(&()), Some(&args.namespace))
        .labels(&format!("{LABEL_NODE}={node}"))
        .follow(
            move |object| (object.name_any(), Some(existing::<K>(&object, &node))),
            |edit| (K::KIND, edit),
            seen,
        )
}

/// An object that cannot be read says nothing, and is written anew.
fn existing<K: StatusObject>(object: &Object, node: &str) -> Existing {
    let label = |name: &str| object.labels().get(name).cloned().unwrap_or_default();
    let said = object.read::<K>().ok().and_then(|object| object.said());
    Existing {
        service: ServiceKey::new(label(LABEL_SERVICE_NAMESPACE), label(LABEL_SERVICE_NAME)),
        names: said.filter(|(said, _)| said == node).map(|(_, names)| names),
    }
}
