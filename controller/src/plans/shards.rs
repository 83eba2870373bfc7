//! Which object an entry is in, and which objects have to be written. Pure.
//!
//! An entry stays in its object for as long as it exists; a new one goes into the first that
//! has room. So the number of objects grows without anything moving, Services that come
//! together share a write, and only what differs is written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use clarion_api::SHARD;

use super::Stored;

/// Pause after a failed write.
const RETRY: Duration = Duration::from_secs(1);

/// What is to be done with one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is not there yet.
    Create,
    /// It is there in this version.
    Replace(Stored),
    /// Nothing is in it any more.
    Delete(Stored),
}

/// How a write went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrote {
    /// The API server has it so.
    Done(Stored),
    /// It is gone, as it should be.
    Deleted,
    /// Somebody else wrote it meanwhile: what is there now, if anything.
    Conflict(Option<Stored>),
    /// Try again later.
    Failed,
}

#[derive(Debug)]
struct Shard<K> {
    keys: BTreeSet<K>,
    stored: Option<Stored>,
    dirty: bool,
    busy: bool,
    not_before: Option<Instant>,
    /// The newest version that the watch has told of while a write was under way.
    seen: Option<Stored>,
}

impl<K> Default for Shard<K> {
    fn default() -> Self {
        Self { keys: BTreeSet::new(), stored: None, dirty: false, busy: false, not_before: None, seen: None }
    }
}

/// The objects of one kind of entry, by number.
#[derive(Debug)]
pub struct Shards<K> {
    shards: BTreeMap<u32, Shard<K>>,
    home: BTreeMap<K, u32>,
    /// Objects that have room.
    open: BTreeSet<u32>,
    dirty: BTreeSet<u32>,
}

impl<K> Default for Shards<K> {
    fn default() -> Self {
        Self { shards: BTreeMap::new(), home: BTreeMap::new(), open: BTreeSet::new(), dirty: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Shards<K> {
    /// Takes in an object that exists. An entry that another object has already is not
    /// this one's; the object is then written anew without it.
    pub fn restore(&mut self, number: u32, stored: Stored, keys: impl IntoIterator<Item = K>) {
        let mut mine = BTreeSet::new();
        let mut twice = false;
        for key in keys {
            match self.home.get(&key) {
                Some(_) => twice = true,
                None => {
                    self.home.insert(key.clone(), number);
                    mine.insert(key);
                }
            }
        }
        let empty = mine.is_empty();
        self.shards.insert(number, Shard { keys: mine, stored: Some(stored), ..Shard::default() });
        if twice || empty {
            self.mark(number);
        }
        self.room(number);
    }

    /// An entry is new or different.
    pub fn put(&mut self, key: &K) {
        let number = self.home.get(key).copied().unwrap_or_else(|| self.place(key.clone()));
        self.mark(number);
    }

    /// Whether some object has this entry.
    #[must_use]
    pub fn holds(&self, key: &K) -> bool {
        self.home.contains_key(key)
    }

    /// An object has to be written although none of its entries differs.
    pub fn rewrite(&mut self, number: u32) {
        self.mark(number);
    }

    /// An entry is gone.
    pub fn remove(&mut self, key: &K) {
        let Some(number) = self.home.remove(key) else { return };
        if let Some(shard) = self.shards.get_mut(&number) {
            shard.keys.remove(key);
        }
        self.room(number);
        self.mark(number);
    }

    /// The watch has told of an object: `None`, that it is gone. What differs from what
    /// was written here is written again.
    pub fn observe(&mut self, number: u32, stored: Option<Stored>) {
        let Some(shard) = self.shards.get_mut(&number) else {
            // Somebody made it: agents would believe what it says. Or it was deleted by us a moment
            // ago, and to delete it again does no harm.
            if stored.is_some() {
                self.shards.insert(number, Shard { stored, ..Shard::default() });
                self.mark(number);
            }
            return;
        };
        if shard.busy {
            // That it is gone, the write under way will find out.
            shard.seen = stored.or(shard.seen.take());
            return;
        }
        let newer = |known: &Stored, seen: &Stored| seen.generation > known.generation;
        let foreign = match (&shard.stored, &stored) {
            (Some(known), Some(seen)) => newer(known, seen),
            (Some(_), None) => true,
            (None, _) => false,
        };
        if foreign {
            shard.stored = stored;
            self.mark(number);
        }
    }

    /// Objects of which the watch's list has none are gone.
    pub fn observe_all(&mut self, all: &BTreeMap<u32, Stored>) {
        for number in self.shards.keys().chain(all.keys()).copied().collect::<BTreeSet<_>>() {
            self.observe(number, all.get(&number).cloned());
        }
    }

    /// The next object to write. It is under way until [`Self::wrote`].
    pub fn next(&mut self, now: Instant) -> Option<(u32, Action)> {
        let shards = &self.shards;
        let free = |number: &&u32| {
            shards.get(*number).is_some_and(|s| !s.busy && s.not_before.is_none_or(|at| at <= now))
        };
        let number = *self.dirty.iter().find(free)?;
        self.dirty.remove(&number);
        let shard = self.shards.get_mut(&number)?;
        (shard.dirty, shard.not_before) = (false, None);
        let action = match (&shard.stored, shard.keys.is_empty()) {
            (Some(stored), false) => Action::Replace(stored.clone()),
            (Some(stored), true) => Action::Delete(stored.clone()),
            (None, false) => Action::Create,
            (None, true) => {
                self.shards.remove(&number);
                self.open.remove(&number);
                return self.next(now);
            }
        };
        shard.busy = true;
        Some((number, action))
    }

    /// A write has ended.
    pub fn wrote(&mut self, number: u32, result: Wrote, now: Instant) {
        let Some(shard) = self.shards.get_mut(&number) else { return };
        shard.busy = false;
        match result {
            Wrote::Done(stored) => shard.stored = Some(stored),
            Wrote::Deleted => shard.stored = None,
            Wrote::Conflict(stored) => {
                shard.stored = stored;
                shard.dirty = true;
            }
            Wrote::Failed => {
                shard.not_before = Some(now + RETRY);
                shard.dirty = true;
            }
        }
        let (again, seen) = (shard.dirty, shard.seen.take());
        // An object without entries that is not there either needs nothing more.
        if again || (shard.keys.is_empty() && shard.stored.is_none()) {
            self.mark(number);
        }
        if let Some(seen) = seen {
            self.observe(number, Some(seen));
        }
    }

    /// The entries of an object, in order.
    pub fn keys(&self, number: u32) -> impl Iterator<Item = &K> {
        self.shards.get(&number).into_iter().flat_map(|shard| &shard.keys)
    }

    /// When to call [`Self::next`] again though nothing happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.dirty.iter().filter_map(|number| self.shards.get(number)?.not_before).min()
    }

    fn mark(&mut self, number: u32) {
        if let Some(shard) = self.shards.get_mut(&number) {
            shard.dirty = true;
            self.dirty.insert(number);
        }
    }

    fn place(&mut self, key: K) -> u32 {
        let number = self.open.first().copied().unwrap_or_else(|| {
            // The lowest number that is not in use.
            (0..).find(|number| !self.shards.contains_key(number)).unwrap_or(u32::MAX)
        });
        self.shards.entry(number).or_default().keys.insert(key.clone());
        self.home.insert(key, number);
        self.room(number);
        number
    }

    fn room(&mut self, number: u32) {
        if self.shards.get(&number).is_some_and(|shard| shard.keys.len() < SHARD) {
            self.open.insert(number);
        } else {
            self.open.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(generation: i64) -> Stored {
        Stored { version: format!("v{generation}"), generation }
    }

    fn written(shards: &mut Shards<usize>) -> Vec<(u32, Action)> {
        let now = Instant::now();
        let mut all = Vec::new();
        while let Some((number, action)) = shards.next(now) {
            let result = match action {
                Action::Create => Wrote::Done(stored(1)),
                Action::Replace(ref old) => Wrote::Done(stored(old.generation + 1)),
                Action::Delete(_) => Wrote::Deleted,
            };
            shards.wrote(number, result, now);
            all.push((number, action));
        }
        all
    }

    #[test]
    fn entries_stay_where_they_are_and_new_ones_fill_the_first_with_room() {
        let mut shards = Shards::default();
        (0..2 * SHARD).for_each(|key| shards.put(&key));
        assert_eq!(written(&mut shards), [(0, Action::Create), (1, Action::Create)]);
        shards.remove(&3);
        shards.put(&(2 * SHARD));
        assert_eq!(written(&mut shards), [(0, Action::Replace(stored(1)))]);
        assert_eq!((shards.keys(0).count(), shards.keys(1).count()), (SHARD, SHARD));
        (SHARD..2 * SHARD).for_each(|key| shards.remove(&key));
        assert_eq!(written(&mut shards), [(1, Action::Delete(stored(1)))]);
        shards.put(&9999);
        assert_eq!(written(&mut shards), [(1, Action::Create)]);
    }

    #[test]
    fn what_was_read_back_is_not_written_unless_it_differs() {
        let mut shards = Shards::default();
        shards.restore(0, stored(4), [1, 2]);
        shards.restore(1, stored(7), [3]);
        assert_eq!(written(&mut shards), []);
        shards.restore(2, stored(1), [3]);
        assert_eq!(written(&mut shards), [(2, Action::Delete(stored(1)))], "an entry is in one object");
        shards.put(&2);
        assert_eq!(written(&mut shards), [(0, Action::Replace(stored(4)))]);
    }

    #[test]
    fn what_others_do_to_objects_is_undone() {
        let mut shards = Shards::default();
        shards.put(&1);
        written(&mut shards);
        shards.observe(0, Some(stored(1)));
        assert_eq!(written(&mut shards), [], "our own write, seen later");
        shards.observe(0, Some(stored(2)));
        assert_eq!(written(&mut shards), [(0, Action::Replace(stored(2)))]);
        shards.observe(0, None);
        assert_eq!(written(&mut shards), [(0, Action::Create)]);
        shards.observe_all(&BTreeMap::new());
        assert_eq!(written(&mut shards), [(0, Action::Create)]);
    }

    #[test]
    fn an_object_that_somebody_made_goes_and_its_number_is_free_again() {
        let mut shards = Shards::default();
        shards.put(&1);
        written(&mut shards);
        shards.observe(9, Some(stored(7)));
        assert_eq!(written(&mut shards), [(9, Action::Delete(stored(7)))]);
        shards.observe(9, None);
        assert_eq!((written(&mut shards), shards.shards.len()), (vec![], 1));
        shards.observe_all(&BTreeMap::from([(0, stored(1)), (4, stored(2))]));
        assert_eq!(written(&mut shards), [(4, Action::Delete(stored(2)))]);
    }

    #[test]
    fn one_write_of_an_object_at_a_time_and_failures_wait() {
        let mut shards = Shards::default();
        let now = Instant::now();
        shards.put(&1);
        assert_eq!(shards.next(now), Some((0, Action::Create)));
        shards.put(&2);
        assert_eq!(shards.next(now), None, "under way");
        shards.wrote(0, Wrote::Failed, now);
        assert_eq!(shards.next(now), None);
        assert_eq!(shards.deadline(), Some(now + RETRY));
        assert_eq!(shards.next(now + RETRY), Some((0, Action::Create)));
        shards.wrote(0, Wrote::Conflict(Some(stored(3))), now);
        assert_eq!(shards.next(now), Some((0, Action::Replace(stored(3)))));
        shards.put(&3);
        shards.wrote(0, Wrote::Done(stored(4)), now);
        assert_eq!(shards.next(now), Some((0, Action::Replace(stored(4)))));
    }
}
