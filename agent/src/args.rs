//! The command line. Names and environment are MetalLB's where it has the same
//! thing (contract §3.3), so that a DaemonSet's arguments can stay.

mod ignored;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
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

    /// Namespace of the configuration objects.
    #[arg(long, env = "METALLB_NAMESPACE", global = true, default_value = "metallb-system")]
    pub namespace: String,

    /// This pod's name; status objects are owned by it, so that they go when it goes.
    #[arg(long, env = "METALLB_POD_NAME")]
    pub pod_name: Option<String>,

    /// Port of /metrics on all addresses, plain HTTP; 0 = off.
    #[arg(long, default_value_t = 7472)]
    pub port: u16,

    /// Port of /healthz, /readyz and /state on 127.0.0.1; 0 = off.
    #[arg(long, default_value_t = 17472)]
    pub health_probe_port: u16,

    /// Handle the Services of this loadBalancerClass; unset, those without a class.
    #[arg(long, default_value = "")]
    pub lb_class: String,

    /// Announce from nodes labelled node.kubernetes.io/exclude-from-external-load-balancers, too.
    #[arg(long)]
    pub ignore_exclude_lb: bool,

    /// MetalLB's list of interfaces to keep away from (ConfigMap metallb-excludel2).
    #[arg(long, default_value = "/etc/metallb/excludel2.yaml")]
    pub exclude_l2_config: PathBuf,

    /// Directory on a BPF file system where the kernel program lives on between agents.
    #[arg(long, default_value = "/sys/fs/bpf/clarion", global = true)]
    pub pin_dir: PathBuf,

    /// How to attach the kernel program to interfaces.
    #[arg(long, value_enum, default_value = "auto")]
    pub attach_mode: Attach,

    /// Seconds that the kernel goes on answering after the agent's last heartbeat.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub restart_grace: u64,

    /// How much to log; all is trace, none is nothing.
    #[arg(long, default_value = "info", value_parser = LOG_LEVELS, global = true)]
    pub log_level: String,

    /// Log format.
    #[arg(long, value_enum, default_value = "text", global = true)]
    pub log_format: LogFormat,

    #[command(flatten)]
    ignored: Ignored,
}

/// MetalLB's levels, and trace. The controller takes the same.
const LOG_LEVELS: [&str; 7] = ["all", "trace", "debug", "info", "warn", "error", "none"];

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
    /// Native where the driver can, else generic.
    Auto,
    /// In the driver only.
    Native,
    /// In the network stack.
    Generic,
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Args {
    /// Reads the command line of the process. Go's flags may have one dash, so
    /// `-log-level=info` is read too.
    #[must_use]
    pub fn from_command_line() -> Self {
        Self::parse_from(double_dashed(std::env::args()))
    }

    /// The flags given that are MetalLB's and have no meaning here.
    #[must_use]
    pub fn ignored(&self) -> Vec<&'static str> {
        self.ignored.given()
    }

    /// The class to handle, if one was given.
    #[must_use]
    pub fn lb_class(&self) -> Option<String> {
        (!self.lb_class.is_empty()).then(|| self.lb_class.clone())
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
            },
            restart_grace: Duration::from_secs(self.restart_grace),
        }
    }

    /// Where probes and the admin view listen: nobody but the node itself may ask.
    #[must_use]
    pub fn probe_address(&self) -> (Ipv4Addr, u16) {
        (Ipv4Addr::LOCALHOST, self.health_probe_port)
    }
}

fn double_dashed(words: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    words.enumerate().map(|(i, word)| {
        let long = word.strip_prefix('-').is_some_and(|rest| rest.len() > 1 && !rest.starts_with('-'));
        if i > 0 && long { format!("-{word}") } else { word }
    })
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
    fn the_defaults_are_metallbs() {
        let args = Args::parse_from(["clarion-agent", "--node-name", "n1"]);
        assert_eq!(
            (args.port, args.health_probe_port, args.namespace.as_str()),
            (7472, 17472, "metallb-system")
        );
        assert_eq!((args.lb_class(), args.command), (None, None));
        let args = Args::parse_from(["clarion-agent", "cleanup", "--pin-dir", "/p", "--node-name", "n1"]);
        assert_eq!((args.command, args.pin_dir), (Some(Command::Cleanup), PathBuf::from("/p")));
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        let words = std::iter::once("clarion-agent").chain(line.split_whitespace());
        Args::try_parse_from(double_dashed(words.map(str::to_owned)))
    }

    #[test]
    fn a_log_level_that_does_not_exist_is_refused_with_those_that_do() {
        for level in LOG_LEVELS {
            assert_eq!(parse(&format!("--log-level={level}")).unwrap().log_level, level);
        }
        let error = parse("--log-level=bogus").unwrap_err().to_string();
        assert!(error.contains("--log-level") && error.contains("all, trace, debug"), "{error}");
    }

    #[test]
    fn the_arguments_of_metallbs_speaker_are_accepted() {
        let args = parse(
            "-port=7472 -log-level=info --node-name=n1 --host 192.0.2.1 --ml-bindaddr=192.0.2.1 --ml-bindport=7946 \
             --ml-labels=app=metallb,component=speaker --ml-secret-key-path=/etc/ml_secret_key --ml-wan-config \
             --config=config --lb-class=a.io/b",
        )
        .unwrap();
        assert_eq!((args.node_name.as_str(), args.lb_class()), ("n1", Some("a.io/b".into())));
        let expected = [
            "--host",
            "--ml-bindaddr",
            "--ml-bindport",
            "--ml-labels",
            "--ml-secret-key-path",
            "--ml-wan-config",
            "--config",
        ];
        assert_eq!(args.ignored(), expected);
        assert!(parse("--node-name=n1").unwrap().ignored().is_empty());
        assert!(parse("--ml-bindadr=x").is_err());
    }
}
