//! The parser as its users see it: objects in, configuration and problems out.

#![expect(clippy::unwrap_used, reason = "tests")]

mod cross;
mod legacy;
mod legacy_bad;
mod legacy_convert;
mod malformed;
mod precedence;
mod properties;
mod single;
mod support;
