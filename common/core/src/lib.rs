//! Domain values that every room speaks in.
//!
//! Nothing here knows Kubernetes, a socket or a clock. A value that has rules
//! (a label selector, an address range) checks them when it is made, so that
//! no later room checks them again.

mod address;
mod names;
mod owners;
mod reason;
mod routing;
mod selector;

pub use address::{AddressRange, Family, RangeError, VipSet};
pub use names::{NodeName, PoolName, ServiceKey};
pub use owners::OwnerList;
pub use reason::{AllocReason, AnnounceReason};
pub use routing::{Asn, Community, CommunityError, RouterId};
pub use selector::{LabelSelector, Labels, Operator, Requirement, SelectorError};
