//! The only room with aya: load, pin, adopt, attach, map plan and apply, counters.
