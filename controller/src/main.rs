//! clarion-controller.
fn main() {}
