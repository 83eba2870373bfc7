//! The parser as its users see it: objects in, configuration and problems out.

#![expect(clippy::unwrap_used, reason = "tests")]

mod cross;
mod malformed;
mod precedence;
mod properties;
mod single;
mod support;
