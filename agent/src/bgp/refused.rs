//! Why TCP did not come up, in words that help: the kernel's own leave the reader alone.

use std::io;

/// The kernel's words, and what they mean for a BGP session.
pub(super) fn in_words(error: &io::Error) -> String {
    let hint = match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => {
            "nothing listens there: check spec.peerAddress and spec.peerPort, and that the router knows this node as its neighbor"
        }
        Some(libc::EHOSTUNREACH) => {
            "nobody answers for the address, or a router on the way says so: check spec.peerAddress and the link"
        }
        Some(libc::ENETUNREACH) => "this node has no route to spec.peerAddress",
        Some(libc::EADDRNOTAVAIL) => {
            "this node has no address of that family to speak from: check spec.sourceAddress and the interface"
        }
        Some(libc::EADDRINUSE) => "another connection has that address and port: check spec.sourceAddress",
        Some(libc::EACCES | libc::EPERM) => "a firewall of this node forbids it",
        Some(libc::ECONNRESET) => {
            "the router ended it at once: check that it knows this node as its neighbor, and the password of both sides"
        }
        Some(libc::ETIMEDOUT) => "no answer: check spec.peerAddress, and the password of both sides",
        Some(libc::ENOTCONN) => "TCP ended while it came up",
        _ => return error.to_string(),
    };
    format!("{error}: {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_comes_with_what_to_look_at() {
        for (code, words, hint) in [
            (libc::ECONNREFUSED, "Connection refused", "spec.peerPort"),
            (libc::EHOSTUNREACH, "No route to host", "the link"),
            (libc::ENETUNREACH, "unreachable", "no route"),
            (libc::EADDRNOTAVAIL, "Cannot assign", "spec.sourceAddress"),
        ] {
            let text = in_words(&io::Error::from_raw_os_error(code));
            assert!(text.contains(words) && text.contains(hint), "{text}");
        }
        assert_eq!(in_words(&io::Error::other("odd")), "odd");
    }
}
