//! clarion-agent.
fn main() {}
