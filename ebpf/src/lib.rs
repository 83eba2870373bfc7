//! The XDP program: ARP and NDP for owned addresses.
