//! The only room with netlink: links and addresses, snapshots and watches.
