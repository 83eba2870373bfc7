//! OwnerPlans: what was planned, kept in objects, and the loop that does it.
//!
//! ```text
//! watches ─News─► World ─Work─► Placement ─changed─► Shards ─► writer ─► OwnerPlan objects
//! ```
//!
//! The loop runs beside that of the Services and shares nothing with it but what it is told: what
//! the watch of Services tells, and which first addresses are being written ([`Feed::foretell`]).
//! So assigning never waits for planning. It plans as soon as something has
//! changed, as often as [`Pace`] allows, while this process leads and nothing else.

mod feed;
mod pace;
mod run;
mod shards;
mod state;
#[cfg(test)]
mod tests;
mod writer;

pub use feed::Feed;
pub use pace::Pace;
pub use run::{Wires, run};
pub use shards::{Action, Shards, Wrote};
pub use state::{Part, Planning, Write};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// A version of an object that the API server has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// `metadata.resourceVersion`: the condition of the next write.
    pub version: String,
    /// `metadata.generation`: rises with each change of the contents.
    pub generation: i64,
}

impl Stored {
    /// Reads it.
    #[must_use]
    pub fn of(meta: &ObjectMeta) -> Self {
        Self {
            version: meta.resource_version.clone().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
        }
    }
}
