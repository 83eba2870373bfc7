//! The command line. MetalLB's flags are accepted, so that a Deployment written for
//! its controller starts this one too; those without a meaning here say so in the log.

use std::ops::Deref;

use clap::Parser;
use clarion_daemon::args::{Common, double_dashed};

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
    #[command(flatten)]
    ignored: Ignored,
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
