//! clarion-controller: hands out addresses and writes status.
