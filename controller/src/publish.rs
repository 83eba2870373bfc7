//! Writes what [`Report`] says should be shown: only what differs, one object after
//! the other, paced, while this process leads.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clarion_daemon::Refusals;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::events::{About, Teller, Told};
use crate::fence::{Fence, Unwritten};
use crate::metrics::Metrics;
use crate::report::{self, ConfigMapReport, ObjectReport, Report, Status};
use crate::writer::FIELD_MANAGER;

/// Pause between two rounds: counters change with every Service, nobody reads them so often.
const PACE: Duration = Duration::from_secs(1);
/// Pause after a round in which something failed, unless what failed is spared for longer.
const RETRY: Duration = Duration::from_secs(5);
/// The log's words for what is written here.
const STATE: &str = "ConfigurationState";

/// The log's words for the status of an object: each kind has a right of its own.
fn status_of(kind: &str) -> &'static str {
    match kind {
        "IPAddressPool" => "the status of IPAddressPools",
        "L2Advertisement" => "the status of L2Advertisements",
        "BGPAdvertisement" => "the status of BGPAdvertisements",
        "BGPPeer" => "the status of BGPPeers",
        "BFDProfile" => "the status of BFDProfiles",
        _ => "the status of Communities",
    }
}

/// Publishes reports until they end. Whoever cancels it ends it at once.
pub async fn run(
    client: Client,
    namespace: String,
    mut reports: watch::Receiver<Option<Report>>,
    fence: Fence,
    teller: Teller,
    refusals: Refusals,
    metrics: Metrics,
) {
    let mut changes = refusals.changes();
    let mut publisher = Publisher {
        client,
        namespace,
        fence,
        teller,
        refusals,
        metrics,
        written: BTreeMap::new(),
        state: None,
    };
    loop {
        let report = reports.borrow_and_update().clone();
        let failed = match report {
            Some(report) => !publisher.publish(&report).await,
            None => {
                // Another leads, and writes what we do not see.
                publisher.written.clear();
                publisher.state = None;
                false
            }
        };
        let pause = if failed { RETRY } else { PACE };
        tokio::time::sleep(pause).await;
        let ended = tokio::select! {
            changed = reports.changed(), if !failed => changed.is_err(),
            changed = changes.changed(), if !failed => changed.is_err(),
            else => false,
        };
        if ended {
            return;
        }
    }
}

/// The time of a condition has no parts of a second.
fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

struct Publisher {
    client: Client,
    namespace: String,
    fence: Fence,
    teller: Teller,
    refusals: Refusals,
    metrics: Metrics,
    /// What was written last and what was shown then: as long as the watch has not
    /// told of it, writing it again would be for nothing.
    written: BTreeMap<About, (Status, Status)>,
    /// What ConfigurationState was written of last.
    state: Option<Said>,
}

/// What ConfigurationState says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    problems: String,
    contested: String,
    refused: String,
    configmap: Option<ConfigMapReport>,
}

impl Publisher {
    /// True if everything is shown as it should be.
    async fn publish(&mut self, report: &Report) -> bool {
        let mut good = self.publish_state(report).await;
        self.written.retain(|about, _| report.objects.iter().any(|object| object.about == *about));
        for object in report.objects.iter().filter(|object| object.wanted != object.shown) {
            if self.written.get(&object.about) == Some(&(object.wanted.clone(), object.shown.clone())) {
                continue;
            }
            let what = status_of(&object.about.kind);
            if self.refusals.until(Instant::now(), what).is_some() {
                good = false;
                continue;
            }
            let result = self.write_object(object).await;
            if self.outcome(what, &object.about.name, result) {
                self.tell(object);
                self.written.insert(object.about.clone(), (object.wanted.clone(), object.shown.clone()));
            } else {
                good = false;
            }
        }
        good
    }

    async fn publish_state(&mut self, report: &Report) -> bool {
        let said = Said {
            problems: report.summary.clone(),
            contested: report.contested.clone(),
            refused: self.refusals.standing().join("\n"),
            configmap: report.configmap.clone(),
        };
        if self.state.as_ref() == Some(&said) {
            return true;
        }
        if self.refusals.until(Instant::now(), STATE).is_some() {
            return false;
        }
        let result = self.write_state(report, &said.refused).await;
        let good = self.outcome(STATE, &report::STATE_NAME, result);
        if good {
            self.tell_configmap(report.configmap.as_ref());
            self.state = Some(said);
        }
        good
    }

    /// Takes note of how a write went; whether it was done.
    fn outcome(
        &self,
        what: &'static str,
        object: &dyn std::fmt::Display,
        result: Result<(), Unwritten>,
    ) -> bool {
        match result {
            Ok(()) => {
                self.refusals.taken(Instant::now(), what);
                true
            }
            Err(Unwritten::NotLeading) => false,
            Err(error) => {
                self.refusals.refused(Instant::now(), what, object, &error);
                false
            }
        }
    }

    /// An event where a problem is new: conditions are read by few.
    fn tell(&self, object: &ObjectReport) {
        let Some(verdict) =
            object.wanted.verdict.as_ref().filter(|_| object.wanted.verdict != object.shown.verdict)
        else {
            return;
        };
        if let Some(problem) = verdict.problem() {
            tracing::warn!(
                kind = object.about.kind,
                name = object.about.name,
                reason = verdict.reason(),
                "{problem}"
            );
            self.teller.tell(Told {
                about: object.about.clone(),
                warning: true,
                reason: verdict.reason().to_owned(),
                message: problem.to_owned(),
            });
        }
    }

    /// Events on the ConfigMap of the first releases, which has no status, where there is
    /// something new to say.
    fn tell_configmap(&self, now: Option<&ConfigMapReport>) {
        let Some(now) = now else { return };
        let before = self.state.as_ref().and_then(|said| said.configmap.as_ref());
        let problem = (before.map(|before| &before.problem) != Some(&now.problem)).then_some(&now.problem);
        let ignored =
            now.ignored.as_ref().filter(|ignored| before.and_then(|b| b.ignored.as_ref()) != Some(ignored));
        let said = [(problem, report::CONFIGURATION_ERROR), (ignored, report::OBJECTS_WIN)];
        for (message, reason) in said {
            let Some(message) = message.filter(|message| !message.is_empty()) else { continue };
            tracing::warn!(kind = now.about.kind, name = now.about.name, reason, "{message}");
            self.teller.tell(Told {
                about: now.about.clone(),
                warning: true,
                reason: reason.to_owned(),
                message: message.clone(),
            });
        }
    }

    async fn write_object(&self, object: &ObjectReport) -> Result<(), Unwritten> {
        let api = Api::<DynamicObject>::namespaced_with(
            self.client.clone(),
            &object.about.namespace,
            &object.resource,
        );
        let status = object.status(&now());
        self.apply_status(&api, &object.resource, &object.about.name, status).await
    }

    async fn write_state(&self, report: &Report, refused: &str) -> Result<(), Unwritten> {
        let resource = ApiResource::erase::<clarion_api::ConfigurationState>(&());
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let object = json!({
            "apiVersion": resource.api_version, "kind": resource.kind,
            "metadata": {
                "name": report::STATE_NAME,
                "labels": {clarion_api::LABEL_COMPONENT_TYPE: "controller"},
            },
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.send(api.patch(report::STATE_NAME, &params, &Patch::Apply(object))).await?;
        let status = report::state(report, refused, &now());
        self.apply_status(&api, &resource, report::STATE_NAME, status).await
    }

    async fn apply_status(
        &self,
        api: &Api<DynamicObject>,
        resource: &ApiResource,
        name: &str,
        status: Value,
    ) -> Result<(), Unwritten> {
        let body = json!({
            "apiVersion": resource.api_version, "kind": resource.kind,
            "metadata": {"name": name}, "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.send(api.patch_status(name, &params, &Patch::Apply(body))).await
    }

    /// One request. An object that is gone meanwhile needs no status.
    async fn send(
        &self,
        request: impl Future<Output = kube::Result<DynamicObject>>,
    ) -> Result<(), Unwritten> {
        self.metrics.client_updates.inc();
        let result = match self.fence.write(request).await {
            Ok(_) => Ok(()),
            Err(Unwritten::Api(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
            Err(error) => Err(error),
        };
        if result.is_err() {
            self.metrics.client_update_errors.inc();
        }
        result
    }
}
