//! Layer 2: who owns an address, and the frames that say so. No sockets, no clock, no tasks.
