//! The cluster's keys: a new one is accepted at once and sent with a while later,
//! so that no node is spoken to under a key that it has not seen yet.

use clarion_fence::{Key, Keys};
use clarion_l2::machine::MS;

/// How long all nodes have to see a new key.
const PAUSE: u64 = 10_000 * MS;
const NONE: Key = Key { id: 0, k0: 0, k1: 0 };

/// The keys, and the change that is under way.
#[derive(Debug, Clone)]
pub(super) struct KeyRing {
    keys: Keys,
    /// When the new key is to be sent with.
    turn_at: Option<u64>,
    changed: bool,
}

impl KeyRing {
    /// Begins with those that the kernel has of a predecessor.
    pub(super) fn new(pinned: Keys) -> Self {
        // A change that was under way begins anew with the first word of the Secret.
        Self { keys: pinned, turn_at: None, changed: false }
    }

    /// Those in force.
    pub(super) fn keys(&self) -> Keys {
        self.keys
    }

    /// The Secret says that this is the key.
    pub(super) fn learn(&mut self, key: Key, now: u64) {
        if key == self.keys.current {
            self.turn_at = None;
        } else if self.keys.current.id == 0 || self.keys.current.id == key.id {
            // The first one; or one that messages could not tell from the former.
            (self.keys, self.turn_at, self.changed) = (Keys { current: key, other: NONE }, None, true);
        } else if self.keys.other != key || self.turn_at.is_none() {
            self.keys.other = key;
            (self.turn_at, self.changed) = (Some(now.saturating_add(PAUSE)), true);
            tracing::info!("the cluster's key is another: it is accepted now, and used in 10 s");
        }
    }

    /// The keys, if they are others since the last call.
    pub(super) fn due(&mut self, now: u64) -> Option<Keys> {
        if self.turn_at.is_some_and(|at| at <= now) {
            // The former is accepted until there is yet another.
            let Keys { current, other } = self.keys;
            (self.keys, self.turn_at, self.changed) = (Keys { current: other, other: current }, None, true);
        }
        std::mem::take(&mut self.changed).then_some(self.keys)
    }

    /// When to ask again.
    pub(super) fn deadline(&self) -> Option<u64> {
        if self.changed { Some(0) } else { self.turn_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_accepted_at_once_and_sent_with_later() {
        let [a, b] = [1, 2].map(|id| Key::new(id, [id; 16]));
        let mut ring = KeyRing::new(Keys { current: NONE, other: NONE });
        assert_eq!(ring.due(0), None);
        ring.learn(a, 0);
        assert_eq!(ring.due(0), Some(Keys { current: a, other: NONE }));
        ring.learn(a, 5);
        assert_eq!((ring.due(5), ring.deadline()), (None, None));
        ring.learn(b, 10);
        assert_eq!(ring.due(10), Some(Keys { current: a, other: b }));
        ring.learn(b, 20);
        assert_eq!((ring.due(20), ring.deadline()), (None, Some(10 + PAUSE)));
        assert_eq!(ring.due(10 + PAUSE), Some(Keys { current: b, other: a }));
        // Taken back: the other way round. An agent that restarted meanwhile goes on.
        let mut again = KeyRing::new(ring.keys());
        again.learn(a, 0);
        assert_eq!(again.due(0), Some(Keys { current: b, other: a }));
        assert_eq!(again.due(PAUSE), Some(Keys { current: a, other: b }));
    }

    #[test]
    fn keys_of_one_number_are_exchanged_at_once() {
        let mut ring = KeyRing::new(Keys { current: Key::new(1, [1; 16]), other: NONE });
        let twin = Key::new(1, [2; 16]);
        ring.learn(twin, 0);
        assert_eq!(ring.due(0), Some(Keys { current: twin, other: NONE }));
    }
}
