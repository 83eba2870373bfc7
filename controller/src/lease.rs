//! Who leads, decided by a Lease after client-go's rules.
//!
//! A holder is believed dead when its record has not *changed* for the lease's duration
//! by our own monotonic clock; times written by others are never compared with ours.
//! Every write is conditional on the version seen, so two can never take it at once.
//! The holder gives up by itself a second before others may take over.

use std::time::{Duration, Instant};

use clarion_daemon::{Answer, Refusals, chain};
use futures::StreamExt;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Name of the Lease.
pub const NAME: &str = "clarion-controller";
/// For how long a holder that is not heard of keeps others out. The API takes whole
/// seconds; with four, another leads within 3 to 4.5 s after a crash.
const DURATION: Duration = Duration::from_secs(4);
/// A record that claims more is not believed: whoever wrote it, somebody must lead again.
const LONGEST_DURATION: Duration = Duration::from_secs(60);
/// How often the holder renews.
const RENEW: Duration = Duration::from_secs(1);
/// A holder that could not renew for so long leads no longer. What it has sent by then has
/// the rest of [`DURATION`] to arrive or to be lost.
const GIVE_UP: Duration = Duration::from_secs(3);
/// Pause after a failed attempt.
const RETRY: Duration = Duration::from_millis(250);
/// Doubled up to this by one who does not lead yet, while the API server says no. Somebody must lead
/// soon once the reason has gone, and at once when an API server that was away is back.
const LONGEST_RETRY: Duration = Duration::from_secs(8);
/// The log's word for what is written here.
const WHAT: &str = "the controller's Lease";

/// Until when this process leads; `None`: it does not.
pub type Leading = Option<Instant>;

/// What was seen of the Lease, and when by our clock.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    lease: Option<Lease>,
    /// When the record last changed.
    at: Option<Instant>,
}

impl Seen {
    /// Takes note of the Lease as it is; `None` if there is none.
    pub fn note(&mut self, lease: Option<Lease>, now: Instant) {
        let version =
            |lease: &Option<Lease>| lease.as_ref().and_then(|l| l.metadata.resource_version.clone());
        if self.at.is_none() || version(&self.lease) != version(&lease) {
            self.at = Some(now);
        }
        self.lease = lease;
    }

    fn holder(&self) -> Option<&str> {
        let spec = self.lease.as_ref()?.spec.as_ref()?;
        spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    /// From when on `me` may take it: at once if nobody has it or it is ours (the process
    /// before us in the same pod is gone), else when its holder has been silent for its
    /// duration. `None` before anything was seen.
    #[must_use]
    pub fn free_at(&self, me: &str) -> Option<Instant> {
        let at = self.at?;
        match self.holder() {
            None => Some(at),
            Some(holder) if holder == me => Some(at),
            Some(_) => Some(at + self.duration()),
        }
    }

    fn duration(&self) -> Duration {
        let spec = self.lease.as_ref().and_then(|lease| lease.spec.as_ref());
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|s| u64::try_from(s).ok());
        seconds.map_or(DURATION, Duration::from_secs).min(LONGEST_DURATION)
    }

    /// The Lease with `me` as its holder from `time` on; `None` as holder gives it free.
    fn with_holder(&self, me: Option<&str>, time: Timestamp) -> Lease {
        let before = self.lease.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        // Giving it free is no transition: the next one counts it.
        let mine = me.is_none() || self.holder() == me;
        let transitions = before.lease_transitions.unwrap_or(0);
        let metadata = ObjectMeta {
            name: Some(NAME.to_owned()),
            resource_version: self.lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone()),
            ..ObjectMeta::default()
        };
        let spec = LeaseSpec {
            holder_identity: Some(me.unwrap_or_default().to_owned()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            renew_time: Some(MicroTime(time)),
            acquire_time: before.acquire_time.filter(|_| mine).or(Some(MicroTime(time))),
            lease_transitions: Some(if mine { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        };
        Lease { metadata, spec: Some(spec) }
    }
}

/// Runs for leadership until `stop`, then gives it free. Says in `leading` how it stands.
pub async fn run(
    client: Client,
    namespace: String,
    me: String,
    leading: watch::Sender<Leading>,
    refusals: Refusals,
    stop: CancellationToken,
) {
    let api: Api<Lease> = Api::namespaced(client, &namespace);
    let mut candidate = Candidate { api, me, seen: Seen::default(), leading, refusals, pause: RETRY };
    while !stop.is_cancelled() {
        if candidate.stand_by(&stop).await {
            candidate.lead(&stop).await;
        }
    }
    candidate.give_free().await;
}

/// Who is to be written into the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// This process.
    Me,
    /// Nobody: the next one need not wait.
    Nobody,
}

struct Candidate {
    api: Api<Lease>,
    me: String,
    seen: Seen,
    leading: watch::Sender<Leading>,
    refusals: Refusals,
    /// Before the next attempt of one who does not lead.
    pause: Duration,
}

impl Candidate {
    /// Watches the Lease until it could be taken. False: stopped.
    async fn stand_by(&mut self, stop: &CancellationToken) -> bool {
        let stream = watcher::watch_object(self.api.clone(), NAME).default_backoff();
        let mut stream = std::pin::pin!(stream);
        let mut failing = false;
        let mut pause_until = Instant::now();
        loop {
            let free_at = self.seen.free_at(&self.me).map(|at| at.max(pause_until));
            tokio::select! {
                () = stop.cancelled() => return false,
                event = stream.next() => match event {
                    Some(Ok(lease)) => {
                        failing = false;
                        self.seen.note(lease, Instant::now());
                    }
                    Some(Err(error)) if !failing => {
                        failing = true;
                        tracing::warn!(error = chain(&error), "cannot watch the Lease {NAME}, will retry");
                    }
                    Some(Err(_)) => {}
                    None => return false,
                },
                () = at(free_at) => {
                    let begun = Instant::now();
                    if self.write(Holder::Me).await {
                        tracing::info!(holder = self.me, "leading from now on");
                        self.leading.send_replace(Some(begun + GIVE_UP));
                        return true;
                    }
                    pause_until = Instant::now() + self.pause;
                }
            }
        }
    }

    /// Renews until that fails for too long or somebody else has it.
    async fn lead(&mut self, stop: &CancellationToken) {
        let mut until = Instant::now() + GIVE_UP;
        let mut next = Instant::now() + RENEW;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = at(Some(next.min(until))) => {}
            }
            let begun = Instant::now();
            if begun >= until {
                tracing::warn!(
                    "the Lease {NAME} could not be renewed for {GIVE_UP:?}: not leading any longer"
                );
                break;
            }
            let renewed = tokio::select! {
                () = stop.cancelled() => break,
                () = at(Some(until)) => false,
                renewed = self.write(Holder::Me) => renewed,
            };
            if renewed {
                until = begun + GIVE_UP;
                next = begun + RENEW;
                self.leading.send_replace(Some(until));
            } else if self.seen.holder().is_some_and(|holder| holder != self.me) {
                tracing::warn!(holder = self.seen.holder(), "another leads: not leading any longer");
                break;
            } else {
                next = Instant::now() + RETRY;
            }
        }
        if !stop.is_cancelled() {
            self.leading.send_replace(None);
        }
    }

    /// On a clean stop: the next one need not wait. A renewal may have been given up on
    /// its way and have arrived, so a conflict alone does not mean that another leads.
    async fn give_free(&mut self) {
        if self.leading.send_replace(None).is_none() {
            return;
        }
        for _ in 0..2 {
            if self.write(Holder::Nobody).await {
                tracing::info!("the Lease {NAME} is free");
                return;
            }
            if self.seen.holder() != Some(self.me.as_str()) {
                return;
            }
        }
    }

    /// Writes the Lease on condition that it is as we saw it. After a conflict it looks
    /// again, so that the next attempt knows.
    async fn write(&mut self, holder: Holder) -> bool {
        let me = (holder == Holder::Me).then_some(self.me.as_str());
        let lease = self.seen.with_holder(me, Timestamp::now());
        let params = PostParams::default();
        let request = async {
            match self.seen.lease {
                Some(_) => self.api.replace(NAME, &params, &lease).await,
                None => self.api.create(&params, &lease).await,
            }
        };
        match tokio::time::timeout(GIVE_UP, request).await {
            Ok(Ok(lease)) => {
                self.refusals.taken(Instant::now(), WHAT);
                self.pause = RETRY;
                self.seen.note(Some(lease), Instant::now());
                true
            }
            Ok(Err(kube::Error::Api(status)))
                if status.is_conflict() || status.is_already_exists() || status.is_not_found() =>
            {
                if let Ok(Ok(lease)) = tokio::time::timeout(RETRY, self.api.get_opt(NAME)).await {
                    self.seen.note(lease, Instant::now());
                }
                false
            }
            Ok(Err(error)) => {
                self.pause = match self.refusals.refused(Instant::now(), WHAT, &NAME, &error) {
                    Answer::No(_) => (self.pause * 2).min(LONGEST_RETRY),
                    Answer::None => RETRY,
                };
                false
            }
            Err(elapsed) => {
                self.refusals.refused(Instant::now(), WHAT, &NAME, &elapsed);
                false
            }
        }
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, version: &str) -> Option<Lease> {
        Some(Lease {
            metadata: ObjectMeta { resource_version: Some(version.to_owned()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(5),
                // Another's clock, an hour ahead: must not matter.
                renew_time: Some(MicroTime(Timestamp::from_second(4_000_000_000).unwrap())),
                ..LeaseSpec::default()
            }),
        })
    }

    #[test]
    fn a_lease_is_free_when_its_record_has_not_changed_for_its_duration() {
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let mut seen = Seen::default();
        assert_eq!(seen.free_at("me"), None);
        // (what is seen, at second, free at second)
        let table = [
            (lease("other", "1"), 0, 5),
            (lease("other", "1"), 3, 5),
            (lease("other", "2"), 4, 9),
            (lease("", "3"), 6, 6),
            (lease("me", "4"), 7, 7),
            (None, 8, 8),
        ];
        for (lease, at, free) in table {
            let text = format!("{lease:?}");
            seen.note(lease, after(at));
            assert_eq!(seen.free_at("me"), Some(after(free)), "{text}");
        }
    }

    #[test]
    fn taking_counts_a_transition_and_renewing_does_not() {
        let mut seen = Seen::default();
        seen.note(lease("other", "1"), Instant::now());
        let time = Timestamp::UNIX_EPOCH;
        let taken = seen.with_holder(Some("me"), time);
        assert_eq!(taken.metadata.resource_version.as_deref(), Some("1"));
        assert_eq!(taken.spec.as_ref().unwrap().lease_transitions, Some(1));
        seen.note(Some(taken), Instant::now());
        assert_eq!(seen.with_holder(Some("me"), time).spec.unwrap().lease_transitions, Some(1));
    }
}
