//! The command line. Names and environment are MetalLB's where it has the same
//! thing (contract §3.3), so that a DaemonSet's arguments can stay.

mod ignored;

use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use clarion_daemon::args::{Common, double_dashed};
use clarion_dataplane::AttachMode;
use clarion_netlink::Exclusion;
use serde::Deserialize;

use self::ignored::Ignored;

/// Announces the cluster's LoadBalancer addresses from one node: by ARP and NDP,
/// answered in the kernel, and by BGP.
#[derive(Debug, Clone, Parser)]
#[command(name = "clarion-agent", version)]
pub struct Args {
    /// What to do; without it, the agent runs.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// This node's name in Kubernetes.
    #[arg(long, env = "METALLB_NODE_NAME", global = true, default_value = "")]
    pub node_name: String,

    #[command(flatten)]
    common: Common,

    /// Announce from nodes labelled node.kubernetes.io/exclude-from-external-load-balancers, too.
    #[arg(long)]
    pub ignore_exclude_lb: bool,

    /// MetalLB's list of interfaces to keep away from (ConfigMap metallb-excludel2).
    #[arg(long, default_value = "/etc/metallb/excludel2.yaml")]
    pub exclude_l2_config: PathBuf,

    /// Directory on a BPF file system where the kernel program lives on between agents.
    #[arg(long, default_value = "/sys/fs/bpf/clarion", global = true)]
    pub pin_dir: PathBuf,

    /// How to attach the kernel program to interfaces. With native or generic, an
    /// interface with an XDP program of somebody else's is not served.
    #[arg(long, value_enum, default_value = "auto")]
    pub attach_mode: Attach,

    /// Seconds that the kernel goes on answering after the agent's last heartbeat.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub restart_grace: u64,

    /// UDP port on which agents and kernels speak to one another about layer 2 ownership.
    #[arg(long, env = "METALLB_ML_BIND_PORT", default_value_t = 7946, value_parser = clap::value_parser!(u16).range(1..))]
    pub ml_bindport: u16,

    /// Secret with the key by which agents know each other's messages; the controller makes it.
    #[arg(long, env = "METALLB_ML_SECRET_NAME", default_value = "memberlist")]
    pub ml_secret_name: String,

    #[command(flatten)]
    ignored: Ignored,
}

/// Other things the binary does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Removes every trace from this node: program, maps, multicast groups and the
    /// node's Lease. Without an API server in reach the Lease is left to go stale.
    Cleanup,
}

/// `--attach-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Attach {
    /// Native where the driver can and no other XDP program is; else TCX, else clsact,
    /// else generic.
    Auto,
    /// XDP in the driver only.
    Native,
    /// XDP in the network stack.
    Generic,
    /// tc's ingress hook, by a link: Linux 6.6, beside whatever XDP program there is.
    Tcx,
    /// The same hook, by a classifier below a clsact queueing discipline.
    Clsact,
}

impl Deref for Args {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

impl Args {
    /// Reads the command line of the process.
    #[must_use]
    pub fn from_command_line() -> Self {
        Self::parse_from(double_dashed(std::env::args()))
    }

    /// The flags given that are MetalLB's and have no meaning here.
    #[must_use]
    pub fn ignored(&self) -> Vec<&'static str> {
        self.ignored.given()
    }

    /// Settings of the dataplane.
    #[must_use]
    pub fn dataplane(&self) -> clarion_dataplane::Options {
        clarion_dataplane::Options {
            pin_dir: self.pin_dir.clone(),
            mode: match self.attach_mode {
                Attach::Auto => AttachMode::Auto,
                Attach::Native => AttachMode::Native,
                Attach::Generic => AttachMode::Generic,
                Attach::Tcx => AttachMode::Tcx,
                Attach::Clsact => AttachMode::Clsact,
            },
            restart_grace: Duration::from_secs(self.restart_grace),
            ..clarion_dataplane::Options::default()
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExcludeFile {
    #[serde(default)]
    announced_interfaces_to_exclude: Vec<String>,
}

/// Reads the text of `excludel2.yaml`.
///
/// # Errors
/// No YAML of that shape, or a pattern that is no regular expression.
pub fn exclusion(text: &str) -> anyhow::Result<Exclusion> {
    let file: ExcludeFile = serde_yaml::from_str(text).map_err(|error| {
        anyhow::anyhow!("excludel2.yaml needs a list announcedInterfacesToExclude of patterns: {error}")
    })?;
    Ok(Exclusion::new(file.announced_interfaces_to_exclude.iter().map(String::as_str))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metallbs_configmap_is_read() {
        let text = "announcedInterfacesToExclude: [\"^docker.*\", \"^lo$\"]\n";
        let list = exclusion(text).unwrap();
        assert!(list.excludes("docker0") && !list.excludes("veth0"));
        let error = exclusion("announcedInterfacesToExclude: [\"(\"]").unwrap_err().to_string();
        assert!(error.contains("announcedInterfacesToExclude"), "{error}");
        assert!(exclusion("- a\n- b\n").is_err());
    }

    #[test]
    fn cleanup_needs_the_pins_and_the_node() {
        let args = Args::parse_from(["clarion-agent", "cleanup", "--pin-dir", "/p", "--node-name", "n1"]);
        assert_eq!((args.command, args.pin_dir), (Some(Command::Cleanup), PathBuf::from("/p")));
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        let words = std::iter::once("clarion-agent").chain(line.split_whitespace());
        Args::try_parse_from(double_dashed(words.map(str::to_owned)))
    }

    #[test]
    fn the_arguments_of_metallbs_speaker_are_accepted() {
        let args = parse(
            "-port=7472 -log-level=info --node-name=n1 --host 192.0.2.1 --ml-bindaddr=192.0.2.1 --ml-bindport=7946 \
             --ml-labels=app=metallb,component=speaker --ml-secret-key-path=/etc/ml_secret_key --ml-wan-config \
             --config=config --lb-class=a.io/b",
        )
        .unwrap();
        assert_eq!((args.node_name.as_str(), args.lb_class()), ("n1", Some("a.io/b")));
        let expected =
            ["--host", "--ml-bindaddr", "--ml-labels", "--ml-secret-key-path", "--ml-wan-config", "--config"];
        assert_eq!(args.ignored(), expected);
        assert!(parse("--node-name=n1").unwrap().ignored().is_empty());
        assert!(parse("--ml-bindadr=x").is_err());
    }
}
