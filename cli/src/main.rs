//! kubectl clarion.
fn main() {}
