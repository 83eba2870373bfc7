//! Rights, health, logs, and what is left at the end.

use anyhow::{Context, Result, ensure};
use clarion_e2e::harness::Case;
use clarion_e2e::look::{METRICS_PORT, SOON};
use clarion_lab::http::Request;
use clarion_lab::process::ProcessId;
use clarion_lab::{Lab, NAMESPACE, Spec};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

pub(crate) const CASES: &[Case] = &[
    ("the agents hold exactly the capabilities that the DaemonSet grants", capabilities),
    ("the controllers hold no capability", controller_capabilities),
    ("no part of the product was ever denied by the API server", denials),
    ("health, readiness and metrics answer", health),
    ("resident memory is within the bars", memory),
];

pub(crate) const LEFTOVERS: &[Case] = &[("a lab with the product leaves nothing behind", nothing_left)];

/// capability(7): numbers of those that the DaemonSet may grant.
const CAPABILITIES: [(&str, u32); 5] =
    [("NET_BIND_SERVICE", 10), ("NET_ADMIN", 12), ("NET_RAW", 13), ("PERFMON", 38), ("BPF", 39)];

fn capability_set(process: ProcessId, field: &str) -> Result<u64> {
    let text = process.status_field(field).with_context(|| format!("{field} of {process:?}"))?;
    Ok(u64::from_str_radix(&text, 16)?)
}

fn capabilities(lab: &mut Lab) -> Result<()> {
    let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/clarion-agent");
    let daemonset = lab.get(&path)?.context("no DaemonSet")?;
    let container = &daemonset["spec"]["template"]["spec"]["containers"][0]["securityContext"];
    ensure!(container["privileged"].as_bool() != Some(true), "privileged");
    ensure!(container["readOnlyRootFilesystem"] == true, "the root is not read-only");
    let mut wanted = 0;
    for name in container["capabilities"]["add"].as_array().into_iter().flatten() {
        let known = CAPABILITIES.iter().find(|(known, _)| name == known);
        wanted |= 1_u64 << known.with_context(|| format!("unexpected capability {name}"))?.1;
    }
    ensure!(wanted != 0, "the DaemonSet grants nothing");
    for node in lab.nodes() {
        let agent = node.process("clarion-agent")?;
        for field in ["CapBnd", "CapPrm", "CapEff"] {
            let held = capability_set(agent, field)?;
            ensure!(
                held == wanted,
                "{}: {field} is {held:#x}, granted is {wanted:#x}",
                node.machine().name()
            );
        }
    }
    Ok(())
}

fn controllers(lab: &Lab) -> Vec<ProcessId> {
    lab.nodes().iter().flat_map(|n| n.machine().processes("clarion-controller")).collect()
}

fn controller_capabilities(lab: &mut Lab) -> Result<()> {
    let all = controllers(lab);
    ensure!(all.len() == 2, "{} controllers run, want 2", all.len());
    for controller in all {
        ensure!(capability_set(controller, "CapEff")? == 0, "CapEff of {controller:?}");
        ensure!(
            controller.status_field("Uid").is_some_and(|uid| !uid.starts_with("0\t")),
            "a controller runs as root"
        );
    }
    Ok(())
}

fn denials(lab: &mut Lab) -> Result<()> {
    let mut seen = 0;
    for file in lab.pod_logs(NAMESPACE) {
        seen += 1;
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let denied = text.lines().find(|l| l.to_ascii_lowercase().contains("forbidden"));
        ensure!(denied.is_none(), "{}: {}", file.display(), denied.unwrap_or_default());
    }
    ensure!(seen >= 5, "only {seen} logs of pods in {NAMESPACE} were found");
    Ok(())
}

fn health(lab: &mut Lab) -> Result<()> {
    for node in lab.nodes() {
        for (port, path) in [(17472, "/healthz"), (17472, "/readyz"), (METRICS_PORT, "/metrics")] {
            let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let answer = Request::get(path).send_in(node.machine().netns(), to, SOON)?;
            ensure!(
                answer.status == 200,
                "{} {path}: {} {}",
                node.machine().name(),
                answer.status,
                answer.text()
            );
        }
    }
    Ok(())
}

/// Bars with one Service; measured with a handful: agent 20 MB, controller 25 MB.
fn memory(lab: &mut Lab) -> Result<()> {
    let resident = |process: ProcessId| -> Result<u64> {
        let text = process.status_field("VmRSS").context("VmRSS")?;
        Ok(text.split_whitespace().next().unwrap_or_default().parse::<u64>()? / 1024)
    };
    for node in lab.nodes() {
        let mb = resident(node.process("clarion-agent")?)?;
        ensure!(mb <= 20, "the agent of {} has {mb} MB resident", node.machine().name());
    }
    for controller in controllers(lab) {
        let mb = resident(controller)?;
        ensure!(mb <= 25, "a controller has {mb} MB resident");
    }
    Ok(())
}

fn nothing_left(_wires: &mut Lab) -> Result<()> {
    let lab = Lab::start(Spec::cluster())?;
    let (id, dir) = (lab.id().to_owned(), lab.dir().to_owned());
    let mut processes: Vec<ProcessId> = lab.processes().map(clarion_lab::process::Process::id).collect();
    for node in lab.nodes() {
        processes.extend(node.machine().inhabitants());
    }
    lab.stop();
    ensure!(processes.len() > 15, "only {} processes were seen", processes.len());
    let alive: Vec<_> = processes.iter().filter(|p| p.alive()).map(|p| p.command_line()).collect();
    ensure!(alive.is_empty(), "still running: {alive:?}");
    let namespaces = std::fs::read_dir("/run/netns")?.flatten();
    let left: Vec<_> =
        namespaces.map(|e| e.file_name()).filter(|n| n.to_string_lossy().starts_with(&id)).collect();
    ensure!(left.is_empty(), "namespaces: {left:?}");
    ensure!(!dir.exists(), "{} is still there", dir.display());
    ensure!(!std::fs::read_to_string("/proc/self/mountinfo")?.contains(&id), "mounts are left");
    ensure!(!Path::new("/sys/fs/bpf/clarion").exists(), "pins in the host's bpffs");
    Ok(())
}
