//! How lists read in events: as Go prints them, since users search for that.

use std::fmt::Write;
use std::net::IpAddr;

/// Addresses as Go prints a list with `%q`: `["192.0.2.1" "2001:db8::1"]`.
#[must_use]
pub fn quoted(addresses: impl IntoIterator<Item = IpAddr>) -> String {
    let mut text = String::from("[");
    for (i, address) in addresses.into_iter().enumerate() {
        let blank = if i == 0 { "" } else { " " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{blank}\"{address}\"");
    }
    text.push(']');
    text
}
