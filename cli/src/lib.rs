//! `kubectl clarion`: what the cluster announces, from where, and why.
//!
//! Every command is snapshot → report → output: [`cluster::Cluster`] reads what the
//! API server knows, a pure function makes a serialisable report of it, and
//! [`output`] prints that as a table for people or as JSON and YAML for programs.
//! The configuration is read by `clarion-config`, the parser that controller and
//! agent use, so the command cannot understand an object differently than they do.

mod causes;
mod cluster;
mod convert;
mod dryrun;
mod explain;
mod output;
mod status;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use clarion_core::ServiceKey;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
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
    /// Pools, Services, nodes and problems on one screen. Ends with 2 if there are problems.
    Status,
    /// Where one Service's address comes from, who announces it and why; of one without an
    /// address, or one that does not exist yet, what it would get.
    #[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
    Explain {
        #[command(subcommand)]
        what: Option<Explain>,
        /// A file with Services that do not exist yet (`-` is standard input): what would
        /// they get? Nothing is changed. Ends with 2 if one of them would not be reachable.
        #[arg(short, long, value_name = "FILE")]
        filename: Option<PathBuf>,
        /// The namespace of Services in the file that name none.
        #[arg(short, long)]
        namespace: Option<String>,
    },
    /// The ConfigMap of MetalLB's first releases, or AddressPools, as objects for `kubectl apply`.
    Convert {
        /// A file with the ConfigMap, with its text, or with AddressPools (`-` is standard
        /// input). The cluster's own when absent.
        #[arg(short, long, value_name = "FILE")]
        filename: Option<PathBuf>,
        /// The namespace of the objects; the ConfigMap's when absent.
        #[arg(short, long)]
        namespace: Option<String>,
        /// Leave passwords in the BGPPeers instead of making Secrets of them.
        #[arg(long)]
        inline_passwords: bool,
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
    if let Command::Convert { filename, namespace, inline_passwords } = &cli.command {
        return convert(&cli, filename.as_deref(), namespace.as_deref(), *inline_passwords).await;
    }
    let client = connect(&cli).await?;
    let cluster = Cluster::read(&client, &cli.config_namespace, cli.lb_class).await?;
    match cli.command {
        Command::Convert { .. } => Ok(ExitCode::SUCCESS),
        Command::Explain { what: None, filename, namespace } => {
            let file =
                filename.context("name what to explain: `explain service NAME`, or `explain -f FILE`")?;
            let namespace = namespace.as_deref().unwrap_or(client.default_namespace());
            let services = proposed(&client, namespace, &text_of(&file)?).await?;
            let reports = explain::of_new(&cluster, &services);
            let human = |reports: &Vec<explain::Report>| {
                reports.iter().map(explain::text).collect::<Vec<_>>().join("\n\n")
            };
            output::print(cli.output, &reports, human)?;
            // Who asks before applying wants to know whether to.
            let good = !reports.iter().any(explain::Report::wants_attention);
            Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(2) })
        }
        Command::Status => {
            let report = status::report(&cluster);
            output::print(cli.output, &report, status::table)?;
            // Scripts ask this command whether all is well.
            Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
        }
        Command::Explain { what: Some(Explain::Service { name, namespace }), .. } => {
            let key = service_key(&name, namespace, client.default_namespace())?;
            let report = explain::report(&cluster, &key).with_context(|| {
                format!("there is no Service {key}; `kubectl get services -A` lists what there is")
            })?;
            output::print(cli.output, &report, explain::text)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A file's text, or standard input's for `-`.
fn text_of(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    Ok(text)
}

async fn convert(
    cli: &Cli,
    file: Option<&Path>,
    namespace: Option<&str>,
    inline: bool,
) -> anyhow::Result<ExitCode> {
    let input = match file {
        Some(file) => convert::read(&text_of(file)?)?,
        None => in_cluster(&connect(cli).await?, &cli.config_namespace).await?,
    };
    let target = namespace.unwrap_or(&cli.config_namespace);
    let output = input.convert(target, namespace.is_some(), inline)?;
    for warning in &output.warnings {
        eprintln!("warning: {warning}");
    }
    output::write(&output.print(cli.output)?)?;
    Ok(if output.incomplete { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

/// What there is to convert in the cluster.
async fn in_cluster(client: &kube::Client, namespace: &str) -> anyhow::Result<convert::Input> {
    let mut input = convert::Input::default();
    let configmaps = Api::<k8s_openapi::api::core::v1::ConfigMap>::namespaced(client.clone(), namespace);
    let name = clarion_config::legacy::NAME;
    let configmap = configmaps.get_opt(name).await;
    if let Some(configmap) = configmap.with_context(|| format!("cannot read ConfigMap {namespace}/{name}"))? {
        let mut object = serde_json::to_value(configmap)?;
        object["kind"] = "ConfigMap".into();
        input.take(object);
    }
    for (kind, plural) in [("AddressPool", "addresspools"), ("Community", "communities")] {
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("metallb.io", "v1beta1", kind), plural);
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
        match api.list(&ListParams::default()).await {
            Ok(list) => {
                for object in list {
                    let mut object = serde_json::to_value(object)?;
                    object["kind"] = kind.into();
                    input.take(object);
                }
            }
            // The kind went with MetalLB 0.14.2. Of a kind that it does not know the API server says
            // so in plain text, without a Status that would have a reason.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error).with_context(|| format!("cannot list {kind}")),
        }
    }
    if input.texts.is_empty() && input.pools.is_empty() {
        anyhow::bail!(
            "nothing to convert: namespace {namespace} has neither a ConfigMap {name:?} nor an AddressPool"
        );
    }
    Ok(input)
}

/// The Services of a file as the API server would make them, ClusterIPs and defaults
/// included: asked by a dry run, which stores nothing.
async fn proposed(client: &kube::Client, namespace: &str, text: &str) -> anyhow::Result<Vec<Service>> {
    let mut services = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let mut object: serde_json::Value =
            serde::Deserialize::deserialize(document).context("the file is no YAML")?;
        if object["kind"] != "Service" {
            continue;
        }
        let name = object["metadata"]["name"].as_str().context("a Service has no metadata.name")?.to_owned();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or(namespace).to_owned();
        object["metadata"]["namespace"] = namespace.clone().into();
        let api = Api::<Service>::namespaced(client.clone(), &namespace);
        let params = PatchParams { dry_run: true, ..PatchParams::apply("kubectl-clarion").force() };
        let service = api.patch(&name, &params, &Patch::Apply(&object)).await;
        services.push(
            service.with_context(|| format!("the API server would not take Service {namespace}/{name}"))?,
        );
    }
    anyhow::ensure!(!services.is_empty(), "there is no Service in the file");
    Ok(services)
}

/// The Service that is meant: `-n` and a namespace in the name must not disagree.
fn service_key(name: &str, namespace: Option<String>, default: &str) -> anyhow::Result<ServiceKey> {
    let key: ServiceKey = match name.contains('/') {
        true => name.parse().map_err(anyhow::Error::msg)?,
        false => ServiceKey::new(namespace.as_deref().unwrap_or(default), name),
    };
    match namespace {
        Some(asked) if asked != key.namespace() => {
            anyhow::bail!(
                "{name:?} names namespace {:?} but -n says {asked:?}: give it once",
                key.namespace()
            )
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
