//! What only the running kernel can provide.

use std::time::Instant;

use super::{Part, State};
use crate::workspace::is_root;

/// Lowest kernel: XDP on veth with bpf_link, and the verifier that the program is written for.
const LOWEST: (u32, u32) = (5, 15);

/// Looks at version, BPF file system and rights. Nothing is mounted in the
/// host: the lab's nodes mount a BPF file system in mount namespaces of their own.
pub(super) fn look() -> Part {
    let since = Instant::now();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let missing = |remedy: &str| State::Missing { remedy: remedy.to_owned() };
    let state = if version(release).is_none_or(|version| version < LOWEST) {
        missing("use Linux 5.15 or newer")
    } else if !filesystems.lines().any(|line| line.ends_with("\tbpf")) {
        missing("use a kernel with CONFIG_BPF_SYSCALL (no `bpf` in /proc/filesystems)")
    } else if !is_root() {
        missing(
            "run as root, since the lab makes network namespaces: sudo -E env \"PATH=$PATH\" cargo xtask …",
        )
    } else {
        State::Found
    };
    Part::new("kernel", state, format!("Linux {release}"), since)
}

/// Major and minor number of a release such as `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions_are_understood() {
        assert_eq!(version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(version("5.15.167.4-microsoft-standard"), Some((5, 15)));
        assert_eq!(version("6.18+"), Some((6, 18)));
        assert_eq!(version("?"), None);
    }
}
