//! The one parser of configuration: API objects to an immutable validated
//! [`Config`] and the [`Problem`]s of the objects that were set aside.
//!
//! The controller calls [`parse`], agents and CLI [`follow`], and nobody anything else, so what is
//! accepted and what is understood cannot drift apart. An object that is wrong is
//! quarantined alone: the others count as if it were not there, and what its last
//! good version allowed stays in force (`architecture.md`, "Plan centrally").

mod advertisement;
mod bfd;
mod check;
mod community;
mod decode;
mod duration;
mod layer2;
pub mod legacy;
mod model;
mod parse;
mod peer;
mod plans;
mod pool;
mod precedence;
mod remark;
mod settle;

pub use decode::decode;
pub use layer2::{EXCLUDE_LABEL, l2_score, serves};
pub use model::*;
pub use parse::{Objects, follow, parse};
pub use plans::{Plans, planned_address};
pub use remark::remarks;
