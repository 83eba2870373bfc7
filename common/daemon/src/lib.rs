//! What controller and agent do alike, so that they cannot drift apart: the flags that both
//! have, the log, error texts, plain HTTP, the client of the API server, watches and what they
//! have told, when paperwork may be written, and what becomes of what is refused.
//!
//! No rule of the product is here. Unlike the other rooms of `common/` this one has sockets
//! and clocks; nothing pure may use it.

pub mod args;
pub mod client;
pub mod configuration;
pub mod http;
pub mod log;
mod object;
mod patience;
mod refusals;
mod store;
mod text;
pub mod watch;

pub use object::Object;
pub use patience::Patience;
pub use refusals::{Answer, LONGEST_PAUSE, Refusals};
pub use store::Store;
pub use text::{chain, cut};
