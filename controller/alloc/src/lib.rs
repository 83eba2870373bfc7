//! The address allocator: pools, requests, sharing, families, reasons. Pure.
