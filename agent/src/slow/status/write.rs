//! The writes themselves: requests, and what they made of the objects.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clarion_api::{
    ConfigurationState, LABEL_COMPONENT_TYPE, LABEL_NODE, LABEL_NODE_NAME, LABEL_SERVICE_NAME,
    LABEL_SERVICE_NAMESPACE, ServiceBGPStatus, ServiceL2Status,
};
use clarion_core::ServiceKey;
use clarion_daemon::Refusals;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::Counts;
use super::objects::StatusObject;
use super::plan::{Existing, Kind, Saying, Write};
use crate::args::Args;

/// Reporter of the speaker's events, as MetalLB's users filter by.
const REPORTER: &str = "metallb-speaker";
/// Field manager of ConfigurationState (contract §1.9).
const MANAGER: &str = "configReconciler";
/// The word of the log for events.
const EVENTS: &str = "events";
/// A write that takes longer is given up and tried again.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a write made of an object of this node, by kind and name; `None`: it is gone.
pub(super) type Made = ((Kind, String), Option<Existing>);

/// Writes. Several calls may be under way at once.
pub(super) struct Writer {
    client: Client,
    args: Arc<Args>,
    counts: Arc<Counts>,
    recorder: Recorder,
    owner: Option<OwnerReference>,
    /// It was said that there is no owner.
    ownerless: bool,
    refusals: Refusals,
}

impl Writer {
    pub(super) fn new(client: Client, args: Arc<Args>, counts: Arc<Counts>, refusals: Refusals) -> Self {
        let reporter = Reporter { controller: REPORTER.to_owned(), instance: Some(args.node_name.clone()) };
        let recorder = Recorder::new(client.clone(), reporter);
        Self { client, args, counts, recorder, owner: None, ownerless: false, refusals }
    }

    /// The node that it writes for.
    pub(super) fn node(&self) -> &str {
        &self.args.node_name
    }

    /// Does one write. What it made comes back also where it failed half-way, since
    /// the watch tells only later.
    pub(super) async fn apply(&self, write: &Write) -> (Option<Made>, anyhow::Result<()>) {
        let mut made = None;
        let result = match write.kind() {
            Kind::L2 => self.apply_kind::<ServiceL2Status>(write, &mut made).await,
            Kind::Bgp => self.apply_kind::<ServiceBGPStatus>(write, &mut made).await,
        };
        self.counts.count(&result);
        (made, result)
    }

    async fn apply_kind<K: StatusObject>(
        &self,
        write: &Write,
        made: &mut Option<Made>,
    ) -> anyhow::Result<()> {
        let api = Api::<K>::namespaced(self.client.clone(), &self.args.namespace);
        let (name, service, names) = match write {
            Write::Create(_, service, names) => {
                let (post, object) = (PostParams::default(), K::empty(self.meta(K::PREFIX, service)));
                let created = in_time(api.create(&post, &object)).await;
                let name = created
                    .with_context(|| format!("cannot create {} for {service}", K::kind(&())))?
                    .name_any();
                *made =
                    Some(((K::KIND, name.clone()), Some(Existing { service: service.clone(), names: None })));
                (name, service, names)
            }
            Write::Update(_, name, service, names) => (name.clone(), service, names),
            Write::Delete(_, name) => {
                delete(&api, name).await?;
                *made = Some(((K::KIND, name.clone()), None));
                return Ok(());
            }
        };
        let status = K::status(&self.args.node_name, service, names);
        in_time(api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)))
            .await
            .with_context(|| format!("cannot write the status of {} {name}", K::kind(&())))?;
        *made =
            Some(((K::KIND, name), Some(Existing { service: service.clone(), names: Some(names.clone()) })));
        Ok(())
    }

    /// What follows once this node's object is there: an event tells of it. Of a layer 2
    /// address only the owner speaks, so what a former one said, and perhaps cannot take
    /// back, goes first; `succeeds` says whether there may have been one. The search for
    /// it costs the API server a look at every such object.
    ///
    /// # Errors
    /// The former owner's objects could not be removed, and no event was written. An
    /// event alone that fails is not tried again.
    pub(super) async fn assigned(
        &self,
        kind: Kind,
        service: &ServiceKey,
        uid: &str,
        succeeds: bool,
    ) -> anyhow::Result<()> {
        if kind == Kind::L2 && succeeds {
            let api = Api::<ServiceL2Status>::namespaced(self.client.clone(), &self.args.namespace);
            self.delete_others(&api, service).await?;
        }
        self.event(service, uid, Saying::node_assigned(&self.args.node_name, kind)).await;
        Ok(())
    }

    async fn delete_others<K: StatusObject>(&self, api: &Api<K>, service: &ServiceKey) -> anyhow::Result<()> {
        let selector = format!(
            "{LABEL_SERVICE_NAME}={},{LABEL_SERVICE_NAMESPACE}={},{LABEL_NODE}!={}",
            service.name(),
            service.namespace(),
            self.args.node_name
        );
        let others = in_time(api.list_metadata(&ListParams::default().labels(&selector)))
            .await
            .with_context(|| format!("cannot list {} of {service}", K::kind(&())))?;
        for other in others {
            delete(api, &other.name_any()).await?;
        }
        Ok(())
    }

    fn meta(&self, prefix: &str, service: &ServiceKey) -> ObjectMeta {
        ObjectMeta {
            generate_name: Some(prefix.to_owned()),
            namespace: Some(self.args.namespace.clone()),
            labels: Some(BTreeMap::from([
                (LABEL_NODE.to_owned(), self.args.node_name.clone()),
                (LABEL_SERVICE_NAME.to_owned(), service.name().to_owned()),
                (LABEL_SERVICE_NAMESPACE.to_owned(), service.namespace().to_owned()),
            ])),
            owner_references: self.owner.clone().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        }
    }

    /// The agent's pod, once: what it wrote goes with it. Without one the objects
    /// stay until this node's next agent corrects them.
    pub(super) async fn find_owner(&mut self) {
        let (None, Some(pod)) = (&self.owner, &self.args.pod_name) else { return };
        let api = Api::<Pod>::namespaced(self.client.clone(), &self.args.namespace);
        let problem = match tokio::time::timeout(TIMEOUT, api.get_metadata(pod)).await {
            Ok(Ok(found)) => {
                self.owner = Some(OwnerReference {
                    api_version: "v1".to_owned(),
                    kind: "Pod".to_owned(),
                    name: pod.clone(),
                    uid: found.uid().unwrap_or_default(),
                    ..OwnerReference::default()
                });
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the API server did not answer in time".to_owned(),
        };
        // Once: it is tried again before each write.
        if !std::mem::replace(&mut self.ownerless, true) {
            tracing::warn!(
                pod,
                error = problem,
                "status objects are written without their owner, this pod, and will outlive it"
            );
        }
    }

    /// Writes this node's ConfigurationState.
    pub(super) async fn configuration_state(&mut self, problems: &[String]) -> anyhow::Result<()> {
        self.find_owner().await;
        let result = tokio::time::timeout(TIMEOUT, self.write_configuration_state(problems)).await;
        let result = result.context("the API server did not answer in time").and_then(|inner| inner);
        self.counts.count(&result);
        result
    }

    async fn write_configuration_state(&self, problems: &[String]) -> anyhow::Result<()> {
        let node = &self.args.node_name;
        let name = format!("speaker-{node}");
        let api = Api::<ConfigurationState>::namespaced(self.client.clone(), &self.args.namespace);
        let header = json!({ "apiVersion": "metallb.io/v1beta1", "kind": "ConfigurationState" });
        let with = |fields: serde_json::Value| {
            let mut object = header.clone();
            if let (Some(to), Some(from)) = (object.as_object_mut(), fields.as_object()) {
                to.extend(from.clone());
            }
            object
        };
        let object = with(json!({ "metadata": {
            "name": name,
            "labels": { LABEL_COMPONENT_TYPE: "speaker", LABEL_NODE_NAME: node },
            "ownerReferences": self.owner.iter().collect::<Vec<_>>(),
        }}));
        let params = PatchParams::apply(MANAGER).force();
        let before = api.patch(&name, &params, &Patch::Apply(&object)).await;
        let before = before.with_context(|| format!("cannot write ConfigurationState {name}"))?;
        let (result, status, reason) = if problems.is_empty() {
            ("Valid", "True", "Reconciled")
        } else {
            ("Invalid", "False", "ConfigurationError")
        };
        let message =
            problems.iter().map(|p| format!("configuration error: {p}")).collect::<Vec<_>>().join("\n");
        // The time of the last change, not of the last write.
        let since = before
            .status
            .iter()
            .flat_map(|s| &s.conditions)
            .find(|c| c.type_ == "configReconcilerValid" && c.status == status)
            .map_or_else(jiff::Timestamp::now, |c| c.last_transition_time.0);
        let object = with(json!({ "metadata": { "name": name }, "status": {
            "result": result,
            "errorSummary": message,
            "conditions": [{
                "type": "configReconcilerValid", "status": status, "reason": reason, "message": message,
                "lastTransitionTime": since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            }],
        }}));
        let written = api.patch_status(&name, &params, &Patch::Apply(&object)).await;
        written.with_context(|| format!("cannot write the status of ConfigurationState {name}"))?;
        Ok(())
    }

    /// Says that an address is dark for want of an interface.
    pub(super) async fn announce_failed(&self, service: &ServiceKey, uid: &str, address: IpAddr) {
        self.event(service, uid, Saying::announce_failed(&self.args.node_name, address)).await;
    }

    async fn event(&self, service: &ServiceKey, uid: &str, saying: Saying) {
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Service".to_owned()),
            name: Some(service.name().to_owned()),
            namespace: Some(service.namespace().to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: if saying.warning { EventType::Warning } else { EventType::Normal },
            reason: saying.reason.to_owned(),
            note: Some(saying.note),
            action: saying.action,
            secondary: None,
        };
        let result = tokio::time::timeout(TIMEOUT, self.recorder.publish(&event, &about)).await;
        let now = std::time::Instant::now();
        let error: &(dyn std::error::Error + 'static) = match &result {
            Ok(Ok(())) => {
                self.refusals.taken(now, EVENTS);
                return;
            }
            Ok(Err(error)) => error,
            Err(elapsed) => elapsed,
        };
        self.refusals.refused(now, EVENTS, service, error);
    }
}

async fn delete<K: StatusObject>(api: &Api<K>, name: &str) -> anyhow::Result<()> {
    let asked = async {
        match api.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    };
    in_time(asked).await.with_context(|| format!("cannot delete {} {name}", K::kind(&())))
}

/// One request, within [`TIMEOUT`].
async fn in_time<T>(request: impl Future<Output = kube::Result<T>>) -> anyhow::Result<T> {
    let answer = tokio::time::timeout(TIMEOUT, request).await;
    Ok(answer.context("the API server did not answer in time")??)
}
