//! What became of each item of a plan.

use crate::error::ItemError;
use crate::model::{AddressKey, AttachedMode, Entry};

/// One thing that was done, or tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// An address was written.
    Set(AddressKey, Entry),
    /// An address was removed.
    Remove(AddressKey),
    /// The program was attached, or replaced its predecessor; the mode says where
    /// it runs (`None`: it does not).
    Attach(u32, Option<AttachedMode>),
    /// The program was detached.
    Detach(u32),
    /// The pins of an interface that is gone were removed.
    Forget(u32),
    /// The filter was written.
    Filter,
}

/// An action and its result.
#[derive(Debug)]
pub struct Item {
    /// What was tried.
    pub action: Action,
    /// How it went.
    pub result: Result<(), ItemError>,
}

/// All that `apply` did, in order; it goes on after a failure.
#[derive(Debug, Default)]
pub struct Report {
    /// One item per change.
    pub items: Vec<Item>,
}

impl Report {
    pub(crate) fn push(&mut self, action: Action, result: Result<(), ItemError>) {
        self.items.push(Item { action, result });
    }

    /// The items that failed.
    pub fn failures(&self) -> impl Iterator<Item = (&Action, &ItemError)> {
        self.items.iter().filter_map(|item| item.result.as_ref().err().map(|error| (&item.action, error)))
    }

    /// Whether everything worked.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.failures().next().is_none()
    }
}
