//! The command line. MetalLB's flags are accepted, so that a Deployment written for
//! its controller starts this one too; those without a meaning here say so in the log.

use std::ops::Deref;
use std::time::Duration;

use clap::{ArgAction, Parser, ValueEnum};
use clarion_daemon::args::{Common, double_dashed};
use clarion_placement::{Rebalance, Settings};

/// Hands out addresses to Services of type LoadBalancer and writes their status.
#[derive(Debug, Clone, Parser)]
#[command(name = "clarion-controller", version, about)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Secret with the key by which the agents know each other; made if missing.
    #[arg(long, env = "METALLB_ML_SECRET_NAME", default_value = "memberlist")]
    pub ml_secret_name: String,
    /// Deployment that owns the Secret.
    #[arg(long, env = "METALLB_DEPLOYMENT")]
    pub deployment: Option<String>,
    /// Let nodes labelled node.kubernetes.io/exclude-from-external-load-balancers own layer 2 addresses
    /// all the same. The agents need it too.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    pub ignore_exclude_lb: bool,
    /// What is done when layer 2 owners are spread unevenly, as after a node's return.
    #[arg(long, value_enum, default_value_t = RebalancePolicy::Gradual)]
    pub l2_rebalance: RebalancePolicy,
    /// Addresses moved at once by a gradual rebalance.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub l2_rebalance_moves: u32,
    /// Seconds before a gradual rebalance and between its moves.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub l2_rebalance_interval: u32,
    #[command(flatten)]
    ignored: Ignored,
}

/// What is done when layer 2 owners are spread unevenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RebalancePolicy {
    /// Nothing: an owner stays for as long as it may.
    Never,
    /// A few addresses at a time, until it is even.
    Gradual,
}

/// Flags of MetalLB's controller that have no meaning here: there is no webhook, and
/// metrics are plain HTTP.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Accepted for MetalLB's manifests, without effect")]
struct Ignored {
    #[arg(long, hide_short_help = true)]
    pprof_bind_address: Option<String>,
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_short_help = true)]
    disable_cert_rotation: Option<String>,
    #[arg(long, hide_short_help = true)]
    cert_dir: Option<String>,
    #[arg(long, hide_short_help = true)]
    cert_service_name: Option<String>,
    #[arg(long, hide_short_help = true)]
    webhook_mode: Option<String>,
    #[arg(long, hide_short_help = true)]
    webhook_secret: Option<String>,
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_short_help = true)]
    webhook_http2: Option<String>,
    #[arg(long, hide_short_help = true)]
    tls_min_version: Option<String>,
    #[arg(long, hide_short_help = true)]
    tls_cipher_suites: Option<String>,
    #[arg(long, hide_short_help = true)]
    tls_curve_preferences: Option<String>,
    #[arg(long, hide_short_help = true)]
    metrics_cert_dir: Option<String>,
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

    /// How layer 2 owners are planned.
    #[must_use]
    pub fn placement(&self) -> Settings {
        let rebalance = match self.l2_rebalance {
            RebalancePolicy::Never => Rebalance::Never,
            RebalancePolicy::Gradual => Rebalance::Gradual {
                moves: usize::try_from(self.l2_rebalance_moves).unwrap_or(usize::MAX),
                every: Duration::from_secs(self.l2_rebalance_interval.into()),
            },
        };
        Settings { rebalance, ..Settings::default() }
    }

    /// The flags given that have no effect.
    #[must_use]
    pub fn ignored(&self) -> Vec<&'static str> {
        let i = &self.ignored;
        [
            ("--pprof-bind-address", &i.pprof_bind_address),
            ("--disable-cert-rotation", &i.disable_cert_rotation),
            ("--cert-dir", &i.cert_dir),
            ("--cert-service-name", &i.cert_service_name),
            ("--webhook-mode", &i.webhook_mode),
            ("--webhook-secret", &i.webhook_secret),
            ("--webhook-http2", &i.webhook_http2),
            ("--tls-min-version", &i.tls_min_version),
            ("--tls-cipher-suites", &i.tls_cipher_suites),
            ("--tls-curve-preferences", &i.tls_curve_preferences),
            ("--metrics-cert-dir", &i.metrics_cert_dir),
        ]
        .into_iter()
        .filter_map(|(flag, value)| value.as_ref().map(|_| flag))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Args {
        let words = std::iter::once("clarion-controller").chain(line.split_whitespace());
        Args::parse_from(double_dashed(words.map(str::to_owned)))
    }

    #[test]
    fn the_flags_of_metallb_are_accepted() {
        let args = parse(
            "--port=7472 --log-level=info --webhook-mode=enabled --cert-service-name=metallb-webhook-service \
             --tls-min-version=VersionTLS12 --disable-cert-rotation --webhook-http2=false",
        );
        assert_eq!(
            args.ignored(),
            [
                "--disable-cert-rotation",
                "--cert-service-name",
                "--webhook-mode",
                "--webhook-http2",
                "--tls-min-version"
            ]
        );
        assert_eq!(args.port, 7472);
    }
}
