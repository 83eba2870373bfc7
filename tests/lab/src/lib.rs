//! The lab: namespaces, routers and a real control plane on one host.
