//! Writes what [`Report`] says should be shown: only what differs, one object after
//! the other, paced, while this process leads.

use std::collections::BTreeMap;
use std::time::Duration;

use clarion_daemon::chain;
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
/// Pause after a round in which something failed.
const RETRY: Duration = Duration::from_secs(5);

/// Publishes reports until they end. Whoever cancels it ends it at once.
pub async fn run(
    client: Client,
    namespace: String,
    mut reports: watch::Receiver<Option<Report>>,
    fence: Fence,
    teller: Teller,
    metrics: Metrics,
) {
    let mut publisher =
        Publisher { client, namespace, fence, teller, metrics, written: BTreeMap::new(), state: None };
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
        if !failed && reports.changed().await.is_err() {
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
    metrics: Metrics,
    /// What was written last and what was shown then: as long as the watch has not
    /// told of it, writing it again would be for nothing.
    written: BTreeMap<About, (Status, Status)>,
    /// What ConfigurationState was written of last: problems, and what is said of the
    /// ConfigMap of the first releases.
    state: Option<(String, Option<ConfigMapReport>)>,
}

impl Publisher {
    /// True if everything is shown as it should be.
    async fn publish(&mut self, report: &Report) -> bool {
        let mut good = true;
        let state = (report.summary.clone(), report.configmap.clone());
        if self.state.as_ref() != Some(&state) {
            match self.write_state(report).await {
                Ok(()) => {
                    self.tell_configmap(report.configmap.as_ref());
                    self.state = Some(state);
                }
                Err(error) => {
                    good = false;
                    tracing::warn!(error, "cannot write ConfigurationState {}", report::STATE_NAME);
                }
            }
        }
        self.written.retain(|about, _| report.objects.iter().any(|object| object.about == *about));
        for object in report.objects.iter().filter(|object| object.wanted != object.shown) {
            if self.written.get(&object.about) == Some(&(object.wanted.clone(), object.shown.clone())) {
                continue;
            }
            match self.write_object(object).await {
                Ok(()) => {
                    self.tell(object);
                    self.written.insert(object.about.clone(), (object.wanted.clone(), object.shown.clone()));
                }
                Err(error) => {
                    good = false;
                    tracing::warn!(
                        kind = object.about.kind,
                        name = object.about.name,
                        error,
                        "cannot write status"
                    );
                }
            }
        }
        good
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
        let before = self.state.as_ref().and_then(|(_, configmap)| configmap.as_ref());
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

    async fn write_object(&self, object: &ObjectReport) -> Result<(), String> {
        let api = Api::<DynamicObject>::namespaced_with(
            self.client.clone(),
            &object.about.namespace,
            &object.resource,
        );
        let status = object.status(&now());
        self.apply_status(&api, &object.resource, &object.about.name, status).await
    }

    async fn write_state(&self, report: &Report) -> Result<(), String> {
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
        let status = report::state(&report.summary, report.configmap.as_ref(), &now());
        self.apply_status(&api, &resource, report::STATE_NAME, status).await
    }

    async fn apply_status(
        &self,
        api: &Api<DynamicObject>,
        resource: &ApiResource,
        name: &str,
        status: Value,
    ) -> Result<(), String> {
        let body = json!({
            "apiVersion": resource.api_version, "kind": resource.kind,
            "metadata": {"name": name}, "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.send(api.patch_status(name, &params, &Patch::Apply(body))).await
    }

    /// One request. An object that is gone meanwhile needs no status.
    async fn send(&self, request: impl Future<Output = kube::Result<DynamicObject>>) -> Result<(), String> {
        self.metrics.client_updates.inc();
        let result = match self.fence.write(request).await {
            Ok(_) => Ok(()),
            Err(Unwritten::Api(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
            Err(error) => Err(chain(&error)),
        };
        if result.is_err() {
            self.metrics.client_update_errors.inc();
        }
        result
    }
}
