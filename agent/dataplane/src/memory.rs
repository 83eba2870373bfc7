//! What attaching taught about interfaces, so that nothing is tried again and again and
//! no choice flaps.
//!
//! A refusal is remembered as long as the interface stays as it was: an MTU that is too
//! large for the driver's XDP may shrink. Another's XDP program counts as there for some
//! time after it went: who replaces theirs must not find ours in its place.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::choice::Facts;
use crate::model::AttachedMode;
use crate::route::LinkNow;

/// What is remembered of an interface.
#[derive(Debug, Default)]
struct Remembered {
    mtu: u32,
    refused: BTreeSet<AttachedMode>,
    /// When another's program was last seen, by the boot clock.
    foreign: Option<Duration>,
}

/// All interfaces, by index.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    interfaces: BTreeMap<u32, Remembered>,
}

impl Memory {
    /// Takes in what an interface is now, of whose XDP programs `ours` are ours, and says
    /// what is known of it.
    pub(crate) fn facts(
        &mut self,
        ifindex: u32,
        link: &LinkNow,
        ours: &BTreeSet<u32>,
        now: Duration,
        patience: Duration,
    ) -> Facts {
        let known = self.interfaces.entry(ifindex).or_default();
        if known.mtu != link.mtu {
            known.mtu = link.mtu;
            known.refused.clear();
        }
        if !link.xdp.is_subset(ours) {
            known.foreign = Some(now);
        }
        known.foreign = known.foreign.filter(|seen| *seen == now || *seen + patience > now);
        Facts { foreign: known.foreign.is_some(), refused: known.refused.clone() }
    }

    /// The driver or the kernel refused a mode.
    pub(crate) fn refused(&mut self, ifindex: u32, mode: AttachedMode) {
        self.interfaces.entry(ifindex).or_default().refused.insert(mode);
    }

    /// Forgets what was refused.
    pub(crate) fn reconsider(&mut self, ifindex: u32) {
        self.interfaces.entry(ifindex).or_default().refused.clear();
    }

    /// Somebody else's program was in the way.
    pub(crate) fn occupied(&mut self, ifindex: u32, now: Duration) {
        self.interfaces.entry(ifindex).or_default().foreign = Some(now);
    }

    /// Forgets interfaces that are gone: an index may come again.
    pub(crate) fn forget(&mut self, ifindex: u32) {
        self.interfaces.remove(&ifindex);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn at(memory: &mut Memory, seconds: u64, mtu: u32, xdp: &[u32]) -> Facts {
        let link = LinkNow { mtu, xdp: xdp.iter().copied().collect() };
        memory.facts(2, &link, &[7].into(), Duration::from_secs(seconds), PATIENCE)
    }

    #[test]
    fn anothers_program_counts_as_there_until_the_patience_is_over() {
        let mut memory = Memory::default();
        assert!(!at(&mut memory, 1000, 1500, &[7]).foreign, "ours is nobody else's");
        assert!(at(&mut memory, 1010, 1500, &[8]).foreign);
        assert!(at(&mut memory, 1020, 1500, &[]).foreign, "it may come back");
        assert!(at(&mut memory, 1050, 1500, &[9]).foreign);
        assert!(at(&mut memory, 1109, 1500, &[]).foreign);
        assert!(!at(&mut memory, 1110, 1500, &[]).foreign);
        memory.occupied(2, Duration::from_secs(1111));
        assert!(at(&mut memory, 1112, 1500, &[]).foreign);
        memory.forget(2);
        assert!(!at(&mut memory, 1113, 1500, &[]).foreign);
    }

    #[test]
    fn a_refusal_is_remembered_until_the_interface_changes() {
        let mut memory = Memory::default();
        at(&mut memory, 1, 9000, &[]);
        memory.refused(2, AttachedMode::Native);
        assert_eq!(at(&mut memory, 2, 9000, &[]).refused, [AttachedMode::Native].into());
        memory.reconsider(2);
        assert!(at(&mut memory, 2, 9000, &[]).refused.is_empty());
        memory.refused(2, AttachedMode::Native);
        assert!(at(&mut memory, 3, 1500, &[]).refused.is_empty());
    }
}
