//! What the loop of the Services tells the one that plans owners: Services and nodes as they are
//! watched, so that they are watched once, and the configuration as it is in force, so that it is parsed once.

use std::sync::Arc;

use clarion_config::Config;
use clarion_core::ServiceKey;
use tokio::sync::{mpsc, watch};

use crate::index::{Change, Edit};
use crate::placement::News;
use crate::planner::StatusWrite;
use crate::service::{ServiceView, Shown};
use crate::state::State;

/// The teller's end.
#[derive(Debug)]
pub struct Feed {
    news: mpsc::Sender<News>,
    config: watch::Sender<Option<Arc<Config>>>,
    /// Whether the configuration may have changed since it was told.
    pending: bool,
}

impl Feed {
    /// Tells by these.
    #[must_use]
    pub fn new(news: mpsc::Sender<News>, config: watch::Sender<Option<Arc<Config>>>) -> Self {
        Self { news, config, pending: false }
    }

    /// Passes on what concerns planning. It waits only for a queue that is emptied without
    /// waiting for anything.
    pub async fn tell(&mut self, change: &Change) {
        match change {
            Change::Service(edit) => self.send(News::Service(edit.clone())).await,
            Change::Listed(_, all) => self.send(News::Service(Edit::Reset(all.clone()))).await,
            Change::Node(edit) => self.send(News::Node(edit.clone())).await,
            Change::Namespace(_) => {}
            Change::Config(_) => self.pending = true,
        }
    }

    /// Tells of a first assignment that is being written, so that its owner is planned meanwhile:
    /// agents look at a plan only for addresses that Services show.
    pub async fn foretell(&self, service: &ServiceView, write: &StatusWrite) {
        let new = service.shown.addresses.is_none_or(|shown| shown.is_empty()) && !write.addresses.is_empty();
        if new {
            let shown = Shown { addresses: Some(write.addresses), ..service.shown.clone() };
            let view = ServiceView { shown, ..service.clone() };
            self.send(News::Service(Edit::Apply(view.key.clone(), Arc::new(view)))).await;
        }
    }

    /// What was foretold did not come about: the Service is as it was, or gone.
    pub async fn retract(&self, key: &ServiceKey, service: Option<&Arc<ServiceView>>) {
        let edit = match service {
            Some(service) => Edit::Apply(key.clone(), Arc::clone(service)),
            None => Edit::Delete(key.clone()),
        };
        self.send(News::Service(edit)).await;
    }

    async fn send(&self, news: News) {
        // Whoever does not listen any more needs no news.
        let _ = self.news.send(news).await;
    }

    /// Passes on the configuration, if it is another one.
    pub fn configure(&mut self, state: &State) {
        if !self.pending || !state.index().config.synced() {
            return;
        }
        self.pending = false;
        let config = &state.parsed().config;
        self.config.send_if_modified(|told| {
            let same = told.as_ref().is_some_and(|told| {
                (&told.l2, &told.pools, &told.set_aside, &told.unread)
                    == (&config.l2, &config.pools, &config.set_aside, &config.unread)
            });
            if !same {
                *told = Some(Arc::new(config.clone()));
            }
            !same
        });
    }
}
