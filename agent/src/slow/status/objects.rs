//! The two kinds of status object, as one trait, and the watches of this node's.

use std::collections::BTreeMap;
use std::time::Duration;

use clarion_api::{
    LABEL_NODE, LABEL_SERVICE_NAME, LABEL_SERVICE_NAMESPACE, ServiceBGPStatus, ServiceL2Status,
};
use clarion_core::ServiceKey;
use futures::StreamExt;
use kube::api::ObjectMeta;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::plan::{Existing, Kind, Names};
use crate::args::Args;

/// Pause after a watch failed.
const PAUSE: Duration = Duration::from_secs(1);

/// What the watches of this node's objects say.
#[derive(Debug)]
pub(super) enum Seen {
    All(Kind, BTreeMap<String, Existing>),
    Is(Kind, String, Existing),
    Gone(Kind, String),
}

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
            "node": node, "serviceName": service.name, "serviceNamespace": service.namespace,
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
            "node": node, "serviceName": service.name, "serviceNamespace": service.namespace, "peers": names,
        }})
    }
}

/// Starts the watches of this node's status objects.
pub(super) fn follow(
    client: &Client,
    args: &Args,
    seen: &mpsc::Sender<Seen>,
    tasks: &mut JoinSet<anyhow::Error>,
) {
    tasks.spawn(follow_kind::<ServiceL2Status>(client.clone(), args.clone(), seen.clone()));
    tasks.spawn(follow_kind::<ServiceBGPStatus>(client.clone(), args.clone(), seen.clone()));
}

async fn follow_kind<K: StatusObject>(client: Client, args: Args, seen: mpsc::Sender<Seen>) -> anyhow::Error {
    let api = Api::<K>::namespaced(client, &args.namespace);
    let config = watcher::Config::default().labels(&format!("{LABEL_NODE}={}", args.node_name));
    let mut stream = std::pin::pin!(watcher(api, config));
    let mut listed = BTreeMap::new();
    while let Some(next) = stream.next().await {
        let said = match next {
            Ok(watcher::Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed.insert(object.name_any(), existing(&object, &args.node_name));
                continue;
            }
            Ok(watcher::Event::InitDone) => Seen::All(K::KIND, std::mem::take(&mut listed)),
            Ok(watcher::Event::Apply(object)) => {
                Seen::Is(K::KIND, object.name_any(), existing(&object, &args.node_name))
            }
            Ok(watcher::Event::Delete(object)) => Seen::Gone(K::KIND, object.name_any()),
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), error = &error as &dyn std::error::Error, "watch failed, trying again");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if seen.send(said).await.is_err() {
            break;
        }
    }
    anyhow::anyhow!("the watch of {} ended", K::kind(&()))
}

fn existing<K: StatusObject>(object: &K, node: &str) -> Existing {
    let label = |name: &str| object.labels().get(name).cloned().unwrap_or_default();
    Existing {
        service: ServiceKey::new(label(LABEL_SERVICE_NAMESPACE), label(LABEL_SERVICE_NAME)),
        names: object.said().filter(|(said, _)| said == node).map(|(_, names)| names),
    }
}
