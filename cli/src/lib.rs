//! `kubectl clarion`: what the cluster announces, from where, and why.
//!
//! Every command is snapshot → report → output: [`cluster::Cluster`] reads what the
//! API server knows, a pure function makes a serialisable report of it, and
//! [`output`] prints that as a table for people or as JSON and YAML for programs.
//! The configuration is read by `clarion-config`, the parser that controller and
//! agent use, so the command cannot understand an object differently than they do.

mod cluster;
mod explain;
mod output;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use clarion_core::ServiceKey;
use kube::config::{KubeConfigOptions, Kubeconfig};

use cluster::Cluster;
use output::Format;

/// Explains the addresses that Clarion hands out and announces.
#[derive(Debug, Parser)]
#[command(name = "kubectl clarion", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Where IPAddressPools, advertisements and peers are read from.
    #[arg(long, global = true, env = "METALLB_NAMESPACE", default_value = "metallb-system")]
    config_namespace: String,
    /// The class of Services that this installation serves; those without one when absent.
    #[arg(long, global = true)]
    lb_class: Option<String>,
    /// The kubeconfig file; $KUBECONFIG or ~/.kube/config when absent.
    #[arg(long, global = true)]
    kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context to use.
    #[arg(long, global = true)]
    context: Option<String>,
    /// Print a table for people, or the same report for programs.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Pools, Services, nodes and problems on one screen.
    Status,
    /// Where one Service's address comes from, who announces it and why.
    Explain {
        #[command(subcommand)]
        what: Explain,
    },
}

#[derive(Debug, Subcommand)]
enum Explain {
    /// A Service of type LoadBalancer.
    #[command(visible_alias = "svc")]
    Service {
        /// NAME, or NAMESPACE/NAME.
        name: String,
        /// The Service's namespace.
        #[arg(short, long)]
        namespace: Option<String>,
    },
}

/// Runs the command line; errors go to standard error with all their causes.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => {
            // Errors of the client repeat their causes in their own words: the first
            // says what was tried, the last why it failed.
            match error.chain().len() {
                1 => eprintln!("error: {error}"),
                _ => eprintln!("error: {error}: {}", error.root_cause()),
            }
            ExitCode::FAILURE
        }
    }
}

/// Connects as kubectl would with the same two flags.
async fn connect(cli: &Cli) -> anyhow::Result<kube::Client> {
    let options = KubeConfigOptions { context: cli.context.clone(), ..KubeConfigOptions::default() };
    let config = match (&cli.kubeconfig, &cli.context) {
        (Some(file), _) => {
            let file = Kubeconfig::read_from(file)
                .with_context(|| format!("cannot read --kubeconfig {}", file.display()))?;
            kube::Config::from_custom_kubeconfig(file, &options)
                .await
                .context("this kubeconfig is of no use")?
        }
        (None, Some(_)) => {
            kube::Config::from_kubeconfig(&options).await.context("the kubeconfig has no such --context")?
        }
        (None, None) => kube::Config::infer()
            .await
            .context("no cluster to ask: set KUBECONFIG, or try `kubectl cluster-info`")?,
    };
    kube::Client::try_from(config).context("cannot make a client of the kubeconfig")
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let client = connect(&cli).await?;
    let cluster = Cluster::read(&client, &cli.config_namespace, cli.lb_class).await?;
    match cli.command {
        Command::Status => {
            let report = status::report(&cluster);
            output::print(cli.output, &report, status::table)?;
            // Scripts ask this command whether all is well.
            Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
        }
        Command::Explain { what: Explain::Service { name, namespace } } => {
            let key = service_key(&name, namespace, client.default_namespace())?;
            let report = explain::report(&cluster, &key).with_context(|| {
                format!("there is no Service {key}; `kubectl get services -A` lists what there is")
            })?;
            output::print(cli.output, &report, explain::text)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The Service that is meant: `-n` and a namespace in the name must not disagree.
fn service_key(name: &str, namespace: Option<String>, default: &str) -> anyhow::Result<ServiceKey> {
    let key: ServiceKey = match name.contains('/') {
        true => name.parse().map_err(anyhow::Error::msg)?,
        false => ServiceKey::new(namespace.as_deref().unwrap_or(default), name),
    };
    match namespace {
        Some(asked) if asked != key.namespace => {
            anyhow::bail!("{name:?} names namespace {:?} but -n says {asked:?}: give it once", key.namespace)
        }
        _ => Ok(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_namespace_is_given_once() {
        let key = |name: &str, ns: Option<&str>| service_key(name, ns.map(str::to_owned), "default");
        assert_eq!(key("web", None).unwrap(), ServiceKey::new("default", "web"));
        assert_eq!(key("web", Some("shop")).unwrap(), ServiceKey::new("shop", "web"));
        assert_eq!(key("shop/web", Some("shop")).unwrap(), ServiceKey::new("shop", "web"));
        assert!(key("shop/web", Some("mall")).is_err());
    }
}
