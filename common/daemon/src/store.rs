//! All objects of one kind, as their watch tells of them.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use crate::watch::Edit;

/// All objects of one kind, reduced to what matters of them; a map that knows whether it is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store<K, V> {
    objects: BTreeMap<K, V>,
    synced: bool,
}

impl<K, V> Default for Store<K, V> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), synced: false }
    }
}

/// What is known in full.
impl<K: Ord, V, const N: usize> From<[(K, V); N]> for Store<K, V> {
    fn from(objects: [(K, V); N]) -> Self {
        Self { objects: objects.into(), synced: true }
    }
}

impl<K, V> Deref for Store<K, V> {
    type Target = BTreeMap<K, V>;

    fn deref(&self) -> &Self::Target {
        &self.objects
    }
}

impl<K, V> DerefMut for Store<K, V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.objects
    }
}

impl<'a, K, V> IntoIterator for &'a Store<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = std::collections::btree_map::Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.objects.iter()
    }
}

impl<K: Ord + Clone, V: PartialEq> Store<K, V> {
    /// Whether all that exist have been seen once.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.synced
    }

    /// Makes the change. Returns which objects are different and which are gone.
    pub fn edit(&mut self, edit: Edit<K, V>) -> (Vec<K>, Vec<K>) {
        match edit {
            Edit::Apply(key, value) => {
                if self.objects.get(&key) == Some(&value) {
                    return (vec![], vec![]);
                }
                self.objects.insert(key.clone(), value);
                (vec![key], vec![])
            }
            Edit::Delete(key) => match self.objects.remove(&key) {
                Some(_) => (vec![], vec![key]),
                None => (vec![], vec![]),
            },
            Edit::Reset(all) => {
                let gone = self.objects.keys().filter(|key| !all.contains_key(key)).cloned().collect();
                let differ = |(key, value): &(&K, &V)| self.objects.get(key) != Some(value);
                let changed = all.iter().filter(differ).map(|(key, _)| key.clone()).collect();
                (self.objects, self.synced) = (all, true);
                (changed, gone)
            }
        }
    }

    /// Makes the change. Whether it was one; the first complete list always is, be it empty.
    pub fn apply(&mut self, edit: Edit<K, V>) -> bool {
        let before = self.synced;
        let (changed, gone) = self.edit(edit);
        before != self.synced || !changed.is_empty() || !gone.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_new_changes_nothing() {
        let mut store = Store::default();
        let list = |names: &[&'static str]| Edit::Reset(names.iter().map(|name| (*name, 1)).collect());
        // (edit, whether it is one), one after the other
        let table = [
            (Edit::Delete("a"), false),
            (list(&[]), true),
            (list(&[]), false),
            (list(&["a"]), true),
            (list(&["a"]), false),
            (Edit::Apply("a", 1), false),
            (Edit::Apply("a", 2), true),
            (Edit::Delete("b"), false),
            (Edit::Delete("a"), true),
        ];
        for (edit, changed) in table {
            let text = format!("{edit:?}");
            assert_eq!(store.apply(edit), changed, "{text}");
        }
    }

    #[test]
    fn a_list_tells_what_differs_and_what_is_gone() {
        let mut store: Store<_, _> = [("a", 1), ("b", 1), ("c", 1)].into();
        let list = [("b", 1), ("c", 2), ("d", 1)].into();
        assert_eq!(store.edit(Edit::Reset(list)), (vec!["c", "d"], vec!["a"]));
        assert_eq!(store.keys().copied().collect::<Vec<_>>(), ["b", "c", "d"]);
    }
}
