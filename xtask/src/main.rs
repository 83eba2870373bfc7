//! Set-up, builds, tests, demo, benchmarks, generated files.
fn main() {}
