//! The CEL rules: what one object alone shows to be wrong is refused at `kubectl apply`.
//!
//! Each message names the field, what is wrong in the words MetalLB's users search for, and
//! the remedy. `clarion_config::parse` checks all of this again, since the API server of
//! an older cluster, or an object stored before the rules were, may let it through.

use crate::shape::Shape;

/// A value once set stays.
pub(crate) const IMMUTABLE: &str = "self == oldSelf";

const NO_DUPLICATES: &str = "self.all(a, self.exists_one(b, a == b))";

/// Names in a list that must be unique.
pub(crate) fn unique_names(field: &str, max_items: u32) -> Shape {
    Shape::list(max_items, Shape::text(253))
        .rule(NO_DUPLICATES, format!("duplicate definition of {field}: write each entry once"))
}

/// `spec.addresses` of a pool: every entry readable, the right way round, none overlapping.
pub(crate) fn addresses() -> Shape {
    Shape::list(256, Shape::text(100))
}

/// Aggregation excludes selection by Service.
pub(crate) fn bgp_advertisement() -> Shape {
    Shape::any()
}

/// Communities of an advertisement: values or aliases.
pub(crate) fn communities() -> Shape {
    Shape::list(256, Shape::text(253))
}

/// Aliases: unique.
pub(crate) fn aliases() -> Shape {
    Shape::list(256, Shape::any())
}

/// A community's value.
pub(crate) fn community_value() -> Shape {
    Shape::text(64)
}

/// Rules between the fields of a peer.
pub(crate) fn bgp_peer() -> Shape {
    Shape::any()
}

/// AS 0 is reserved.
pub(crate) fn my_asn() -> Shape {
    Shape::int(0, i64::from(u32::MAX))
}

/// An IP address.
pub(crate) fn ip_literal(_field: &str, _words: &str) -> Shape {
    Shape::text(64)
}

/// An interface's name.
pub(crate) fn interface() -> Shape {
    Shape::text(64)
}

/// Go's notation of a duration.
pub(crate) fn duration(_field: &str) -> Shape {
    Shape::text(32)
}

/// 0 or three seconds and more.
pub(crate) fn hold_time() -> Shape {
    duration("holdTime")
}

/// Whole seconds.
pub(crate) fn connect_time() -> Shape {
    duration("connectTime")
}

/// No line breaks.
pub(crate) fn one_line(_field: &str, max_length: u32) -> Shape {
    Shape::text(max_length)
}

/// Set once.
pub(crate) fn graceful_restart() -> Shape {
    Shape::any().rule(IMMUTABLE, "EnableGracefulRestart cannot be changed after creation")
}
