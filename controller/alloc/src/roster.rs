//! Which pools to try, by their places in the list of pools instead of their names.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use clarion_core::PoolName;

use crate::request::Eligible;

/// Pools to try, best first, in two tiers. Of use until the pools change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Roster {
    pub(crate) pinned: Vec<usize>,
    pub(crate) common: Vec<usize>,
}

impl Roster {
    /// One pool alone.
    pub(crate) fn only(pool: usize) -> Self {
        Self { pinned: vec![pool], common: vec![] }
    }

    /// All of its pools.
    pub(crate) fn pools(&self) -> impl Iterator<Item = usize> {
        self.pinned.iter().chain(&self.common).copied()
    }
}

/// Rosters by the [`Eligible`] that they were made of: looking a hundred names up for
/// each Service would cost more than all the rest.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rosters {
    /// By address of the value; the value is kept, so nobody else can be there.
    known: HashMap<usize, (Arc<Eligible>, Arc<Roster>)>,
}

/// More than a planner hands out at a time; past it begins anew.
const MOST_KNOWN: usize = 8192;

impl Rosters {
    /// The pools have changed.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }

    pub(crate) fn get(
        &mut self,
        eligible: &Arc<Eligible>,
        by_name: &BTreeMap<PoolName, usize>,
    ) -> Arc<Roster> {
        let place = Arc::as_ptr(eligible).addr();
        if let Some((_, roster)) = self.known.get(&place) {
            return Arc::clone(roster);
        }
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        let places =
            |names: &[PoolName]| names.iter().filter_map(|name| by_name.get(name).copied()).collect();
        let roster = Arc::new(Roster { pinned: places(&eligible.pinned), common: places(&eligible.common) });
        self.known.insert(place, (Arc::clone(eligible), Arc::clone(&roster)));
        roster
    }
}
