//! clarion-agent: announces the cluster's addresses from one node.
