//! The flags that both processes have, with MetalLB's names and environment (contract §3.3),
//! so that manifests written for it go on working.

use crate::log::{Format, Level};

/// Where the kubelet puts the name of the pod's namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// Where MetalLB's objects are when nothing says otherwise.
const DEFAULT_NAMESPACE: &str = "metallb-system";

/// Flags of controller and agent.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// Namespace of the configuration objects; without it the pod's own, or metallb-system.
    #[arg(long, env = "METALLB_NAMESPACE", global = true, default_value = "", hide_default_value = true, value_parser = namespace)]
    pub namespace: String,
    /// This pod's name.
    #[arg(long, env = "METALLB_POD_NAME")]
    pub pod_name: Option<String>,
    /// Port of /metrics, plain HTTP; 0 switches it off.
    #[arg(long, default_value_t = 7472)]
    pub port: u16,
    /// Port of /healthz and /readyz; 0 switches it off.
    #[arg(long, default_value_t = 17472)]
    pub health_probe_port: u16,
    /// Serve the Services of this loadBalancerClass only; unset: those without one.
    #[arg(long, default_value = "", hide_default_value = true)]
    lb_class: String,
    /// How much to log; all is trace, none is nothing.
    #[arg(long, value_enum, default_value_t = Level::Info, global = true)]
    pub log_level: Level,
    /// How to write the log.
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    pub log_format: Format,
}

impl Common {
    /// The class of the Services to serve, if one was given.
    #[must_use]
    pub fn lb_class(&self) -> Option<&str> {
        (!self.lb_class.is_empty()).then_some(self.lb_class.as_str())
    }
}

/// An empty one counts as not given: that is what an unset environment of a template becomes.
fn namespace(given: &str) -> Result<String, std::convert::Infallible> {
    let pods = || std::fs::read_to_string(NAMESPACE_FILE).unwrap_or_default().trim().to_owned();
    let mut candidates = [given.to_owned()].into_iter().chain(std::iter::once_with(pods));
    Ok(candidates.find(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()))
}

/// The words of a command line as clap wants them: Go's flags may have one dash, so
/// `-log-level=info` is read too.
pub fn double_dashed(words: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    words.enumerate().map(|(i, word)| {
        let long = word.strip_prefix('-').is_some_and(|rest| rest.len() > 1 && !rest.starts_with('-'));
        if i > 0 && long { format!("-{word}") } else { word }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        common: Common,
    }

    fn parse(line: &str) -> Result<Common, clap::Error> {
        let words = std::iter::once("x").chain(line.split_whitespace());
        Line::try_parse_from(double_dashed(words.map(str::to_owned))).map(|line| line.common)
    }

    #[test]
    fn the_defaults_are_metallbs() {
        let args = parse("").unwrap();
        assert_eq!(
            (args.port, args.health_probe_port, args.namespace.as_str()),
            (7472, 17472, "metallb-system")
        );
        assert_eq!((args.lb_class(), args.log_level, args.log_format), (None, Level::Info, Format::Text));
        assert_eq!(parse("--namespace=").unwrap().namespace, "metallb-system");
        assert_eq!(parse("--namespace=other").unwrap().namespace, "other");
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        let args = parse("-lb-class=a.io/b -log-level debug").unwrap();
        assert_eq!((args.lb_class(), args.log_level), (Some("a.io/b"), Level::Debug));
    }

    #[test]
    fn a_log_level_that_does_not_exist_is_refused_with_those_that_do() {
        for level in ["all", "trace", "debug", "info", "warn", "error", "none"] {
            assert!(parse(&format!("--log-level={level}")).is_ok(), "{level}");
        }
        let error = parse("--log-level=bogus").unwrap_err().to_string();
        assert!(error.contains("--log-level") && error.contains("all, trace, debug"), "{error}");
    }
}
