//! The slow half: what the API server says, made into one [`Desired`]. It may
//! wait; the fast half never waits for it. Losing the API server freezes the last
//! good value.
//!
//! There is no timer between an event and its effect, as long as effects are cheap:
//! after each computation the next one waits in proportion to what that one cost
//! ([`rest`]). A single event is acted on at once; in a storm at ten thousand Services,
//! where all of it is computed from scratch in tens of milliseconds, events are taken in
//! together instead of keeping a core busy.

mod index;
pub(crate) mod lease;
mod read;
mod rest;
mod status;
#[cfg(test)]
mod tests;
mod watches;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use clarion_config::Problem;
use clarion_core::NodeName;
use clarion_daemon::watch::Watches;
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use self::index::{Event, Index};
use self::rest::Cost;
pub(crate) use self::status::Counts;
use self::watches::Starter;
use crate::args::Args;
use crate::bgp::DesiredPeers;
use crate::desired::owners::Owners;
use crate::desired::{Desired, Me, desired};
use crate::fast::FastStatus;

/// Events that may wait for the index; a watch that is faster waits itself.
const EVENTS: usize = 512;

/// What the slow half says of itself, for `/readyz`, metrics and status objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SlowStatus {
    /// Kinds that were not listed yet.
    pub(crate) missing: Vec<&'static str>,
    /// Configuration objects that were set aside.
    pub(crate) problems: Vec<Problem>,
    /// Times the API server was asked to store something, and failures of it.
    pub(crate) loaded: bool,
}

/// Where results go.
pub(crate) struct Outputs {
    /// `None` until every watch has listed once.
    pub(crate) desired: watch::Sender<Option<Arc<Desired>>>,
    /// The BGP part of it.
    pub(crate) peers: watch::Sender<Arc<DesiredPeers>>,
    /// The plan of owners, the nodes in it, and the cluster's key.
    pub(crate) owners: watch::Sender<Arc<Owners>>,
    /// State of this half.
    pub(crate) status: watch::Sender<Arc<SlowStatus>>,
}

/// Runs until a part of it ends, which is a fault: the error says which.
pub(crate) async fn run(
    args: Arc<Args>,
    client: Client,
    watches: Watches,
    outputs: Outputs,
    fast: watch::Receiver<Arc<FastStatus>>,
    counts: Arc<Counts>,
) -> anyhow::Error {
    let (events, mut incoming) = mpsc::channel(EVENTS);
    let mut tasks = JoinSet::new();
    Starter {
        client: &client,
        namespace: &args.namespace,
        watches: &watches,
        events: &events,
        tasks: &mut tasks,
    }
    .start(&args);
    let node = NodeName::new(args.node_name.as_str());
    let (own_tx, own_rx) = watch::channel(lease::Own::default());
    tasks.spawn(lease::renew(client.clone(), args.namespace.clone(), node.clone(), own_rx, fast.clone()));
    tasks.spawn(status::run(status::Inputs {
        client: client.clone(),
        watches: watches.clone(),
        args: Arc::clone(&args),
        desired: outputs.desired.subscribe(),
        fast,
        slow: outputs.status.subscribe(),
        counts,
    }));
    let mut half = Half {
        me: Me { node, ignore_exclude_label: args.ignore_exclude_lb },
        index: Index::new(&args.namespace),
        outputs,
        own: own_tx,
        secrets: BTreeMap::new(),
        without_echo: BTreeSet::new(),
        unpublished: false,
        rested: Instant::now(),
    };
    loop {
        let first = tokio::select! {
            event = incoming.recv() => match event {
                Some(event) => Some(event),
                None => return anyhow::anyhow!("all watches ended"),
            },
            () = tokio::time::sleep_until(half.rested.into()), if half.unpublished => None,
            ended = tasks.join_next() => {
                return match ended {
                    // A Secret that nobody names any more.
                    Some(Err(error)) if error.is_cancelled() => continue,
                    Some(Ok(error)) => error,
                    Some(Err(error)) => anyhow::Error::new(error).context("a task of the slow half failed"),
                    None => anyhow::anyhow!("the slow half has no tasks left"),
                };
            }
        };
        let more = std::iter::from_fn(|| incoming.try_recv().ok()).take(EVENTS);
        half.take_in(first.into_iter().chain(more));
        half.follow_secrets(&mut Starter {
            client: &client,
            namespace: &args.namespace,
            watches: &watches,
            events: &events,
            tasks: &mut tasks,
        });
    }
}

struct Half {
    me: Me,
    index: Index,
    outputs: Outputs,
    own: watch::Sender<lease::Own>,
    secrets: BTreeMap<String, AbortHandle>,
    /// Peers of which was said that they have no BFD echo packets, with their profiles.
    without_echo: BTreeSet<(String, String)>,
    /// Whether the view has changed since it was last published.
    unpublished: bool,
    /// When the next computation may be.
    rested: Instant,
}

/// This node's peers that ask for BFD's echo packets, which this release does not send.
fn without_echo(desired: &Desired) -> BTreeSet<(String, String)> {
    let profiles = desired.peers.iter().filter_map(|(name, peer)| Some((name, peer.config.bfd.as_ref()?)));
    profiles
        .filter(|(_, profile)| profile.echo_mode)
        .map(|(name, profile)| (name.clone(), profile.name.clone()))
        .collect()
}

impl Half {
    fn take_in(&mut self, events: impl Iterator<Item = Event>) {
        let was_missing = !self.index.missing().is_empty();
        let mut changed = false;
        for event in events {
            changed |= self.index.apply(event);
        }
        let missing = self.index.missing();
        self.unpublished |= changed || (was_missing && missing.is_empty());
        // First what others wait for, then the paperwork.
        if missing.is_empty() && self.unpublished && self.rested <= Instant::now() {
            let cost = Cost::begin();
            self.publish();
            self.unpublished = false;
            self.rested = cost.rest(Instant::now());
        }
        let status =
            SlowStatus { loaded: missing.is_empty(), missing, problems: self.index.problems().to_vec() };
        self.outputs.status.send_if_modified(|old| {
            let changed = **old != status;
            if changed {
                *old = Arc::new(status);
            }
            changed
        });
    }

    fn publish(&mut self) {
        let view = self.index.view();
        let new = Arc::new(desired(&self.me, view));
        let without = without_echo(&new);
        for (peer, profile) in without.difference(&self.without_echo) {
            tracing::warn!(
                peer,
                profile,
                "BFDProfile: spec.echoMode is not used by this release: control packets alone watch the path; set transmitInterval, receiveInterval and detectMultiplier accordingly"
            );
        }
        self.without_echo = without;
        self.outputs.peers.send_if_modified(|old| {
            let changed = **old != new.peers;
            if changed {
                *old = Arc::new(new.peers.clone());
            }
            changed
        });
        let plans = (self.index.plans(), self.index.key());
        let owners = Owners::new(
            &self.me.node,
            plans.0,
            &view.nodes,
            &new.l2,
            plans.1,
            &self.outputs.owners.borrow().clone(),
        );
        self.outputs.owners.send_if_modified(|old| {
            let changed = **old != owners;
            if changed {
                *old = Arc::new(owners);
            }
            changed
        });
        self.outputs.desired.send_if_modified(|old| {
            let changed = old.as_ref() != Some(&new);
            if changed {
                *old = Some(new);
            }
            changed
        });
        let node = view.nodes.get(&self.me.node);
        let own = node.map_or_else(lease::Own::default, |node| lease::Own {
            address: node.addresses.first().map(ToString::to_string).unwrap_or_default(),
            uid: node.uid.clone(),
        });
        self.own.send_if_modified(|old| {
            let changed = *old != own;
            *old = own;
            changed
        });
    }

    /// Starts and ends the watches of Secrets, so that exactly those that BGPPeers
    /// name are read.
    fn follow_secrets(&mut self, starter: &mut Starter<'_>) {
        let wanted = self.index.wanted_secrets();
        self.secrets.retain(|name, task| {
            let keep = wanted.contains(name);
            if !keep {
                task.abort();
            }
            keep
        });
        for name in wanted {
            self.secrets.entry(name).or_insert_with_key(|name| starter.secret(name));
        }
    }
}
