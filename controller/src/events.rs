//! Tells events. Best effort and apart from everything else: a full queue drops and
//! counts, nothing waits for an event, and who leads no longer says no more. While
//! addresses keep coming, events wait ([`Patience`]).
//!
//! The `source` is `metallb-controller`, because users select by it; the newer field
//! `reportingComponent` says who it really was. An event's name is made of what it says,
//! so that saying it again, after a restart too, counts up one event and makes no other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use clarion_daemon::{Patience, Refusals};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::fence::{Fence, Unwritten};
use crate::metrics::Metrics;
use crate::planner::StatusWrite;
use crate::service::ServiceView;
use crate::words::Saying;

/// Events that may wait. A creation of ten thousand Services at once fits; what
/// exceeds it is dropped and counted.
const QUEUE: usize = 16_384;
/// The log's word for what is written here.
const WHAT: &str = "events";
/// Events under way at once. Few: the API server is to spend itself on status.
const AT_ONCE: usize = 4;
/// The longest message that the API server takes.
const LONGEST_MESSAGE: usize = 1024;

/// The component that MetalLB's users know.
pub const SOURCE: &str = "metallb-controller";
/// The component that it is.
pub const REPORTER: &str = "clarion-controller";

/// An event about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Kind, API version, namespace, name and uid of the object.
    pub about: About,
    /// `type` Warning, else Normal.
    pub warning: bool,
    /// `reason`.
    pub reason: String,
    /// `message`.
    pub message: String,
}

/// The object that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct About {
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
}

impl Told {
    /// What is said of a Service.
    #[must_use]
    pub fn of(service: &ServiceView, saying: &Saying) -> Self {
        Self {
            about: About {
                api_version: "v1".into(),
                kind: "Service".into(),
                namespace: service.key.namespace().into(),
                name: service.key.name().into(),
                uid: service.uid.clone(),
            },
            warning: saying.reason.is_warning(),
            reason: saying.reason.as_str().to_owned(),
            message: saying.message.clone(),
        }
    }

    /// The event as the API server takes it. The same words about the same object make
    /// the same name.
    #[must_use]
    pub fn event(&self, now: Timestamp, instance: &str) -> Event {
        let text = format!("{}\0{}\0{}\0{}", self.about.kind, self.about.uid, self.reason, self.message);
        // FNV-1a, 64 bits: stable over versions, unlike std's hasher.
        let hash = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        // A name has at most 253 characters.
        let prefix: String = self.about.name.chars().take(230).collect();
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{prefix}.{hash:016x}")),
                namespace: Some(self.about.namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(self.about.api_version.clone()),
                kind: Some(self.about.kind.clone()),
                namespace: Some(self.about.namespace.clone()),
                name: Some(self.about.name.clone()),
                uid: Some(self.about.uid.clone()),
                ..ObjectReference::default()
            },
            type_: Some(if self.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(self.reason.clone()),
            message: Some(shortened(&self.message)),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            source: Some(EventSource { component: Some(SOURCE.to_owned()), host: None }),
            reporting_component: Some(REPORTER.to_owned()),
            reporting_instance: Some(instance.to_owned()),
            ..Event::default()
        }
    }
}

fn shortened(message: &str) -> String {
    if message.len() < LONGEST_MESSAGE {
        return message.to_owned();
    }
    let end = (0..LONGEST_MESSAGE - 4).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
    format!("{}…", message.split_at(end).0)
}

/// Where events are handed in.
#[derive(Debug, Clone)]
pub struct Teller {
    queue: mpsc::Sender<Told>,
    metrics: Metrics,
    patience: Shared,
}

/// The tellers' and the writer's.
type Shared = Arc<Mutex<Patience>>;

fn patience(shared: &Shared) -> std::sync::MutexGuard<'_, Patience> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Teller {
    /// A status is being written, for which somebody waits: events are not.
    pub fn urgent(&self) {
        patience(&self.patience).urgent(Instant::now());
    }

    /// Hands in an event. Never waits.
    pub fn tell(&self, told: Told) {
        if self.queue.try_send(told).is_err() {
            self.metrics.events_dropped.inc();
        }
    }

    /// What was said with a write of a Service, or without one.
    pub fn tell_all(&self, service: Option<&ServiceView>, sayings: &[Saying], write: Option<&StatusWrite>) {
        for saying in sayings {
            if let Some(service) = service {
                let key = write.map_or(&service.key, |write| &write.key);
                let reason = saying.reason.as_str();
                if saying.reason.is_warning() {
                    tracing::warn!(service = %key, reason, "{}", saying.message);
                } else {
                    tracing::info!(service = %key, reason, "{}", saying.message);
                }
                self.tell(Told::of(service, saying));
            }
        }
    }
}

/// The two ends: where to hand in, and the task that writes. It ends when all tellers
/// are gone.
pub fn start(
    client: Client,
    fence: Fence,
    instance: String,
    metrics: Metrics,
    refusals: Refusals,
) -> (Teller, impl Future<Output = ()>) {
    let (queue, told) = mpsc::channel(QUEUE);
    let shared = Shared::default();
    let teller = Teller { queue, metrics: metrics.clone(), patience: Arc::clone(&shared) };
    let stream =
        futures::stream::unfold(told, |mut told| async move { told.recv().await.map(|one| (one, told)) });
    let task = async move {
        let writer = Writer { client, fence, instance };
        stream
            .for_each_concurrent(AT_ONCE, |told| {
                let (writer, metrics, shared, refusals) = (&writer, &metrics, &shared, &refusals);
                async move {
                    turn(shared).await;
                    metrics.client_updates.inc();
                    match writer.write(&told).await {
                        Ok(()) => {
                            refusals.taken(Instant::now(), WHAT);
                        }
                        Err(Unwritten::NotLeading) => {
                            metrics.events_dropped.inc();
                        }
                        Err(error) => {
                            metrics.client_update_errors.inc();
                            let about = format!("{}/{}", told.about.namespace, told.about.name);
                            refusals.refused(Instant::now(), WHAT, &about, &error);
                        }
                    }
                }
            })
            .await;
    };
    (teller, task)
}

/// Waits until one event may be written.
async fn turn(shared: &Shared) {
    loop {
        let now = Instant::now();
        let wait = {
            let mut patience = patience(shared);
            if patience.allowance(now) > 0 {
                patience.spend(now, 1);
                return;
            }
            patience.next(now)
        };
        if let Some(until) = wait {
            tokio::time::sleep_until(until.into()).await;
        }
    }
}

struct Writer {
    client: Client,
    fence: Fence,
    instance: String,
}

impl Writer {
    /// One request, unless the same has been said before.
    async fn write(&self, told: &Told) -> Result<(), Unwritten> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &told.about.namespace);
        let event = told.event(Timestamp::now(), &self.instance);
        match self.fence.write(api.create(&PostParams::default(), &event)).await {
            Err(Unwritten::Api(kube::Error::Api(status))) if status.is_already_exists() => {
                let name = event.metadata.name.as_deref().unwrap_or_default();
                // A patch answers with the whole event, so no right to read any is needed.
                let last = json!({"lastTimestamp": event.last_timestamp});
                let found = self.patch(&api, name, last).await?;
                let count = json!({"count": found.count.unwrap_or(1).saturating_add(1)});
                self.patch(&api, name, count).await.map(drop)
            }
            // The namespace is going, and the object with it. Any other refusal is a right that is missing.
            Err(Unwritten::Api(kube::Error::Api(status)))
                if status.is_not_found() || status.message.contains("being terminated") =>
            {
                tracing::debug!(reason = told.reason, "event not wanted: {}", status.message);
                Ok(())
            }
            other => other.map(drop),
        }
    }

    async fn patch(&self, api: &Api<Event>, name: &str, fields: Value) -> Result<Event, Unwritten> {
        self.fence.write(api.patch(name, &PatchParams::default(), &Patch::Merge(fields))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(message: &str) -> Told {
        Told {
            about: About {
                api_version: "v1".into(),
                kind: "Service".into(),
                namespace: "ns".into(),
                name: "web".into(),
                uid: "u".into(),
            },
            warning: true,
            reason: "AllocationFailed".into(),
            message: message.into(),
        }
    }

    #[test]
    fn the_same_words_make_the_same_event() {
        let event = |message: &str| told(message).event(Timestamp::UNIX_EPOCH, "pod").metadata.name;
        assert_eq!(event("a"), event("a"));
        assert_ne!(event("a"), event("b"));
    }

    #[test]
    fn an_event_is_what_users_select_by() {
        let event = told("Failed").event(Timestamp::UNIX_EPOCH, "pod");
        assert_eq!(event.source.unwrap().component.as_deref(), Some("metallb-controller"));
        assert_eq!(event.reporting_component.as_deref(), Some("clarion-controller"));
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        assert_eq!(event.reason.as_deref(), Some("AllocationFailed"));
    }

    #[test]
    fn long_messages_fit() {
        let event = told(&"é".repeat(2000)).event(Timestamp::UNIX_EPOCH, "pod");
        assert!(event.message.unwrap().len() <= 1024);
    }
}
