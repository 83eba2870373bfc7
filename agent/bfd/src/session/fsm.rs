//! The transitions of RFC 5880 §6.2 and §6.8.6: one match over every state and what the
//! peer says of its own.

use super::event::Cause;
use crate::wire::{Diagnostic, State};

/// The state that a packet leads to, and why; `None` where it changes nothing.
pub(super) fn heard(state: State, theirs: State, diagnostic: Diagnostic) -> Option<(State, Cause)> {
    use State as S;
    match (state, theirs) {
        // Held down: what the peer says is of no interest.
        (S::AdminDown, S::AdminDown | S::Down | S::Init | S::Up) => None,

        (S::Down, S::AdminDown) => None,
        (S::Init | S::Up, S::AdminDown) => Some((S::Down, Cause::NeighborAdminDown(diagnostic))),

        (S::Down, S::Down) => Some((S::Init, Cause::Heard(theirs))),
        (S::Down, S::Init) => Some((S::Up, Cause::Heard(theirs))),
        // The peer has not noticed yet that this side went down.
        (S::Down, S::Up) => None,

        (S::Init, S::Down) => None,
        (S::Init, S::Init | S::Up) => Some((S::Up, Cause::Heard(theirs))),

        (S::Up, S::Down) => Some((S::Down, Cause::NeighborDown(diagnostic))),
        (S::Up, S::Init | S::Up) => None,
    }
}
