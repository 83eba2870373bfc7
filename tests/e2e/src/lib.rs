//! End-to-end tests: the shipped binaries in the lab.
