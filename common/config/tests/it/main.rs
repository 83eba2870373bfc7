//! The parser as its users see it: objects in, configuration and problems out.

mod cross;
mod properties;
mod single;
mod support;
