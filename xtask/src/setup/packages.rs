//! What comes from the distribution: programs of the lab, and the BPF toolchain
//! where rustup has none.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use super::{Mode, Part, State, apt, bpf};
use crate::ui::Ui;
use crate::workspace::{Workspace, which};

/// Programs and the packages that bring them.
#[derive(Debug, Clone, Copy)]
struct Need {
    /// What the table calls it.
    name: &'static str,
    /// All of these must be there.
    programs: &'static [&'static str],
    /// What it is for.
    why: &'static str,
    /// Packages of Debian and Ubuntu, separated by spaces.
    debian: &'static str,
    /// Packages of Fedora, separated by spaces.
    fedora: &'static str,
}

/// The lab's programs.
const LAB: &[Need] = &[
    Need {
        name: "iproute2",
        programs: &["ip", "bridge", "tc"],
        why: "namespaces and links",
        debian: "iproute2",
        fedora: "iproute iproute-tc",
    },
    Need {
        name: "nftables",
        programs: &["nft"],
        why: "kube-proxy in nftables mode",
        debian: "nftables",
        fedora: "nftables",
    },
    Need {
        name: "iptables",
        programs: &["iptables", "ip6tables"],
        why: "kube-proxy in iptables mode",
        debian: "iptables",
        fedora: "iptables-nft",
    },
    Need {
        name: "conntrack",
        programs: &["conntrack"],
        why: "kube-proxy",
        debian: "conntrack",
        fedora: "conntrack-tools",
    },
    Need {
        name: "ethtool",
        programs: &["ethtool"],
        why: "offloads of the lab's links",
        debian: "ethtool",
        fedora: "ethtool",
    },
    Need {
        name: "tcpdump",
        programs: &["tcpdump"],
        why: "captures in a failure's dump",
        debian: "tcpdump",
        fedora: "tcpdump",
    },
    Need {
        name: "ndisc6",
        programs: &["ndisc6"],
        why: "neighbour solicitations by hand",
        debian: "ndisc6",
        fedora: "ndisc6",
    },
    Need {
        name: "openssl",
        programs: &["openssl"],
        why: "the control plane's keys",
        debian: "openssl",
        fedora: "openssl",
    },
    Need {
        name: "FRR",
        programs: &["bgpd", "zebra", "vtysh"],
        why: "the lab's router",
        debian: "frr",
        fedora: "frr",
    },
    Need {
        name: "BIRD",
        programs: &["bird", "birdc"],
        why: "a second BGP implementation to peer with",
        debian: "bird2",
        fedora: "bird",
    },
    Need {
        name: "GoBGP",
        programs: &["gobgpd", "gobgp"],
        why: "a third BGP implementation to peer with",
        debian: "gobgpd",
        fedora: "gobgp",
    },
];

/// Name of the toolchain's part in the table.
const TOOLCHAIN: &str = "BPF toolchain";

/// Looks for everything, installs what is missing, looks again.
///
/// # Errors
/// When a command that was found cannot be run, and on Ctrl-C.
pub(super) fn ensure(workspace: &Workspace, ui: &Ui, mode: Mode) -> Result<Vec<Part>> {
    let needs = if mode == Mode::Build { &[] } else { LAB };
    let since = Instant::now();
    let missing: Vec<&Need> = needs.iter().filter(|need| place(need).is_none()).collect();
    let toolchain_missing = bpf::toolchain().is_none();
    let mut wanted: Vec<&str> = missing.iter().flat_map(|need| need.debian.split(' ')).collect();
    if toolchain_missing {
        wanted.extend(bpf::DEBIAN);
    }
    let mut remedy = String::new();
    if !wanted.is_empty() {
        for need in &missing {
            ui.say(&format!("  {}: not found ({})", need.name, need.why));
        }
        if toolchain_missing {
            ui.say(&format!("  {TOOLCHAIN}: not found (compiles the XDP program)"));
        }
        remedy =
            if mode.may_install() { apt::install(workspace, ui, &wanted)? } else { apt::remedy(&wanted) };
        if apt::tool().is_none() {
            remedy = by_hand(&missing, toolchain_missing);
        }
    }
    if toolchain_missing && mode.may_install() && bpf::toolchain().is_none() {
        bpf::install_nightly(workspace, ui)?;
    }
    let mut parts: Vec<Part> = needs
        .iter()
        .map(|need| {
            let was_missing = missing.iter().any(|m| m.name == need.name);
            let (state, place) = judge(place(need).map(|p| p.display().to_string()), was_missing, &remedy);
            Part::new(need.name, state, place, if was_missing { since } else { Instant::now() })
        })
        .collect();
    let toolchain = bpf::toolchain().map(|toolchain| toolchain.to_string());
    let (state, place) =
        judge(toolchain, toolchain_missing, &format!("{remedy}\n  or: {}", bpf::NIGHTLY_REMEDY));
    parts.push(Part::new(TOOLCHAIN, state, place, if toolchain_missing { since } else { Instant::now() }));
    Ok(parts)
}

/// Where the first program is, if all are there.
fn place(need: &Need) -> Option<PathBuf> {
    let found: Option<Vec<PathBuf>> = need.programs.iter().map(|program| which(program)).collect();
    found?.into_iter().next()
}

fn judge(place: Option<String>, was_missing: bool, remedy: &str) -> (State, String) {
    match place {
        Some(place) if was_missing => (State::Installed, place),
        Some(place) => (State::Found, place),
        None => (State::Missing { remedy: remedy.to_owned() }, String::new()),
    }
}

/// What a person does where there is no apt-get.
fn by_hand(missing: &[&Need], toolchain: bool) -> String {
    let mut lines = Vec::new();
    if !missing.is_empty() {
        let packages: Vec<&str> = missing.iter().map(|need| need.fedora).collect();
        let programs: Vec<&str> = missing.iter().flat_map(|need| need.programs).copied().collect();
        lines.push(if which("dnf").is_some() {
            format!("sudo dnf install {}", packages.join(" "))
        } else {
            format!(
                "install the packages that bring {} (on Fedora: {})",
                programs.join(", "),
                packages.join(" ")
            )
        });
    }
    if toolchain {
        lines.push(bpf::NIGHTLY_REMEDY.to_owned());
    }
    lines.join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_apt_the_packages_and_programs_are_named() {
        let missing = [&LAB[8]];
        let text = by_hand(&missing, true);
        assert!(text.contains("frr") && text.contains(bpf::NIGHTLY_REMEDY), "{text}");
    }

    #[test]
    fn a_part_is_installed_only_if_it_was_missing_before() {
        assert_eq!(judge(Some("p".into()), false, "r").0, State::Found);
        assert_eq!(judge(Some("p".into()), true, "r").0, State::Installed);
        assert_eq!(judge(None, true, "r").0, State::Missing { remedy: "r".into() });
    }

    #[test]
    fn every_need_says_why_and_has_packages_for_both_families() {
        for need in LAB {
            assert!(!need.why.is_empty() && !need.debian.is_empty() && !need.fedora.is_empty(), "{need:?}");
        }
    }
}
