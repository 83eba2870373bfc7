//! Watching one kind of object for ever: events in, [`Edit`]s out.
//!
//! What is known stays in force while a watch fails, so losing the API server changes nothing.
//! A failing watch is taken up again with growing pauses, and said once per cause: an API
//! server that is away must not fill the log of every node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::api::ApiResource;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};

use crate::object::Object;
use crate::text::{chain, cut};

/// First pause after an error: a restart of the API server is hardly felt.
const MIN_PAUSE: Duration = Duration::from_millis(200);
/// Doubled up to this: an API server that is back is noticed within it.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The API server ends a watch after this, and a new one takes over where it ended. Also bounds how
/// long a connection that died silently goes unnoticed.
const WATCH_SECONDS: u32 = 290;
/// Errors that are this far apart are not one outage.
const SPELL: Duration = Duration::from_secs(60);
/// Causes that are told apart during one outage, and the longest text of one.
const CAUSES: usize = 8;
const LONGEST_CAUSE: usize = 300;
/// No event for so long is nothing special.
const FOREVER: Duration = Duration::from_secs(1 << 30);

/// What a watch says.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit<K: Ord, V> {
    /// The object is there, like this.
    Apply(K, V),
    /// The object is gone, or none of our business.
    Delete(K),
    /// These are all there are: the watch has (re)started.
    Reset(BTreeMap<K, V>),
}

/// What the watches of a process share.
#[derive(Debug, Clone)]
pub struct Watches {
    /// Counts up when all connections must be made anew.
    reconnect: Arc<watch::Sender<u64>>,
    denied: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Default for Watches {
    fn default() -> Self {
        Self { reconnect: Arc::new(watch::channel(0).0), denied: Arc::default() }
    }
}

impl Watches {
    /// Makes every watch begin anew: what they have may be a connection that is dead.
    pub fn reconnect(&self) {
        self.reconnect.send_modify(|n| *n += 1);
    }

    /// What the API server refuses to let us watch, with its words: rights are missing, and
    /// waiting does not help. An API server that is away is not among it.
    #[must_use]
    pub fn denied(&self) -> Vec<String> {
        let denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        denied.iter().map(|(what, why)| format!("the right to watch {what}: {why}")).collect()
    }

    /// A watch of one kind, in all namespaces or in one.
    #[must_use]
    pub fn of(&self, client: &Client, resource: &ApiResource, namespace: Option<&str>) -> Watch {
        let api = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
            None => Api::all_with(client.clone(), resource),
        };
        Watch {
            what: resource.plural.clone(),
            api,
            config: watcher::Config::default().timeout(WATCH_SECONDS),
            silence: None,
            reconnect: self.reconnect.subscribe(),
            watches: self.clone(),
            stream: None,
            spell: Spell::default(),
        }
    }

    fn set_denied(&self, what: &str, why: Option<String>) {
        let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => drop(denied.insert(what.to_owned(), why)),
            None => drop(denied.remove(what)),
        }
    }
}

/// The watch of one kind.
pub struct Watch {
    what: String,
    api: Api<Object>,
    config: watcher::Config,
    silence: Option<Duration>,
    reconnect: watch::Receiver<u64>,
    watches: Watches,
    stream: Option<BoxStream<'static, watcher::Result<Event<Object>>>>,
    spell: Spell,
}

impl Watch {
    /// Only objects with these labels.
    #[must_use]
    pub fn labels(mut self, selector: &str) -> Self {
        self.config = self.config.labels(selector);
        self
    }

    /// Only the object of this name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.what = format!("{} {name}", self.what);
        self.config = self.config.fields(&format!("metadata.name={name}"));
        self
    }

    /// Something comes at least this often; when it does not, the connections are dead.
    #[must_use]
    pub fn never_silent_for(mut self, silence: Duration) -> Self {
        self.silence = Some(silence);
        self
    }

    /// Sends what it sees until nobody listens. `read` says by what an object goes and
    /// what matters of it; what does not matter at all counts as gone.
    pub async fn follow<K: Ord, V, E>(
        mut self,
        read: impl Fn(Object) -> (K, Option<V>),
        event: impl Fn(Edit<K, V>) -> E,
        events: mpsc::Sender<E>,
    ) {
        let mut listed = BTreeMap::new();
        loop {
            let edit = match self.next().await {
                Event::Init => {
                    listed.clear();
                    continue;
                }
                Event::InitApply(object) => {
                    if let (key, Some(value)) = read(object) {
                        listed.insert(key, value);
                    }
                    continue;
                }
                Event::InitDone => Edit::Reset(std::mem::take(&mut listed)),
                Event::Apply(object) => match read(object) {
                    (key, Some(value)) => Edit::Apply(key, value),
                    (key, None) => Edit::Delete(key),
                },
                Event::Delete(object) => Edit::Delete(read(object).0),
            };
            if events.send(event(edit)).await.is_err() {
                return;
            }
        }
    }

    /// The next event, however long it takes.
    async fn next(&mut self) -> Event<Object> {
        loop {
            let stream =
                self.stream.get_or_insert_with(|| watcher(self.api.clone(), self.config.clone()).boxed());
            tokio::select! {
                next = stream.next() => match next {
                    Some(Ok(event)) => {
                        // A list that begins has not succeeded yet.
                        if !matches!(event, Event::Init | Event::InitApply(_)) {
                            self.recovered();
                        }
                        return event;
                    }
                    Some(Err(error)) => self.failed(&error).await,
                    None => self.stream = None,
                },
                _ = self.reconnect.changed() => self.stream = None,
                () = tokio::time::sleep(self.silence.unwrap_or(FOREVER)) => {
                    let silence = self.silence.unwrap_or_default();
                    if self.spell.is_news(Instant::now(), "silence") {
                        tracing::warn!("nothing of {} was heard for {silence:?}: connecting to the API server anew", self.what);
                    }
                    self.watches.reconnect();
                }
            }
        }
    }

    fn recovered(&mut self) {
        if self.spell.end() {
            tracing::info!(kind = self.what, "watch works again");
            self.watches.set_denied(&self.what, None);
        }
    }

    async fn failed(&mut self, error: &watcher::Error) {
        let cause = cut(chain(error), LONGEST_CAUSE);
        let denied = is_denied(error);
        if denied {
            self.watches.set_denied(&self.what, Some(cause.clone()));
        }
        if self.spell.is_news(Instant::now(), &cause) {
            let kind = self.what.as_str();
            if denied {
                tracing::error!(
                    kind,
                    error = cause,
                    "this process may not watch what it needs: apply its ClusterRole and Role again"
                );
            } else {
                tracing::warn!(
                    kind,
                    error = cause,
                    "watch failed, trying again; what was seen stays in force"
                );
            }
        }
        let pause = self.spell.pause();
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.75..1.25))).await;
    }
}

fn is_denied(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::WatchError(status) => status.code,
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code,
        _ => return false,
    };
    matches!(code, 401 | 403)
}

/// One outage of a watch.
#[derive(Debug, Default)]
struct Spell {
    /// What was said already.
    said: BTreeSet<String>,
    last: Option<Instant>,
    pause: Option<Duration>,
}

impl Spell {
    /// Whether a cause is to be said; notes that something failed.
    fn is_news(&mut self, now: Instant, cause: &str) -> bool {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) > SPELL) {
            *self = Self::default();
        }
        self.last = Some(now);
        self.said.len() < CAUSES && self.said.insert(cause.to_owned())
    }

    fn pause(&mut self) -> Duration {
        let pause = self.pause.unwrap_or(MIN_PAUSE);
        self.pause = Some((pause * 2).min(MAX_PAUSE));
        pause
    }

    /// Whether there was one.
    fn end(&mut self) -> bool {
        std::mem::take(self).last.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once_per_outage_and_causes_are_bounded() {
        let (mut spell, begin) = (Spell::default(), Instant::now());
        assert!(spell.is_news(begin, "refused"));
        assert!(!spell.is_news(begin + Duration::from_secs(5), "refused"));
        assert!(spell.is_news(begin + Duration::from_secs(6), "403"));
        assert!(!spell.is_news(begin + Duration::from_secs(7), "refused"), "they alternate");
        let many = (0..1000).filter(|n| spell.is_news(begin + SPELL, &n.to_string())).count();
        assert_eq!(many, CAUSES - 2);
        assert!(spell.is_news(begin + SPELL * 3, "refused"), "another outage");
        assert!(spell.end() && !spell.end());
    }

    #[test]
    fn pauses_grow_to_their_bound_and_begin_anew() {
        let mut spell = Spell::default();
        let pauses: Vec<_> = (0..7).map(|_| spell.pause()).collect();
        assert_eq!((pauses[0], pauses[1], pauses[6]), (MIN_PAUSE, MIN_PAUSE * 2, MAX_PAUSE));
        spell.end();
        assert_eq!(spell.pause(), MIN_PAUSE);
    }
}
