//! The ordered list of nodes that may own a layer 2 address, as the controller plans it.

use crate::NodeName;

/// Who shall own an address, and who after it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnerList {
    /// Rises whenever the first owner changes by plan, and only then. It is the time of that
    /// decision in milliseconds since 1970 (or the former epoch and one, if that is more), so
    /// that an address that is given up and used again never begins below what its
    /// former owners claimed, though nobody remembers them. 0: never placed.
    pub epoch: u64,
    /// The planned owner, then its successors, best first. Empty: no node may own the address.
    pub owners: Vec<NodeName>,
}

impl OwnerList {
    /// The node that shall own the address.
    #[must_use]
    pub fn owner(&self) -> Option<&NodeName> {
        self.owners.first()
    }
}
