//! The cluster from outside: kubectl as a person would use it, and the API
//! itself where milliseconds count.

use crate::http::{Request, Response};
use crate::lab::{Lab, NAMESPACE};
use crate::netns::run;
use crate::tools::{lab_program, manifests};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(20);
/// The agents' `--health-probe-port`, as the manifests set it.
const AGENT_HEALTH_PORT: u16 = 17472;

/// kubectl.
impl Lab {
    /// Runs kubectl as the cluster's administrator and returns what it printed.
    ///
    /// # Errors
    /// With kubectl's own words when it fails.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        run(self.kubectl_command()?.args(args))
    }

    /// `kubectl apply -f -` of YAML documents.
    ///
    /// # Errors
    /// With the API server's words when it refuses one.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        self.kubectl_stdin(&["apply", "-f", "-"], yaml)
    }

    /// `kubectl delete -f -` of YAML documents, waiting until they are gone;
    /// what does not exist is no error.
    ///
    /// # Errors
    /// With kubectl's words.
    pub fn delete(&self, yaml: &str) -> Result<String> {
        self.kubectl_stdin(&["delete", "--ignore-not-found", "--timeout=30s", "-f", "-"], yaml)
    }

    /// Runs kubectl with text on its standard input.
    ///
    /// # Errors
    /// With kubectl's words when it fails.
    pub fn kubectl_stdin(&self, args: &[&str], input: &str) -> Result<String> {
        let mut child = self
            .kubectl_command()?
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("kubectl")?;
        let mut stdin = child.stdin.take().context("kubectl's input")?;
        stdin.write_all(input.as_bytes())?;
        drop(stdin);
        let out = child.wait_with_output()?;
        if !out.status.success() {
            bail!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    fn kubectl_command(&self) -> Result<Command> {
        let control_plane = self.control_plane()?;
        let mut command = control_plane.machine().netns().command(lab_program("kubectl")?)?;
        // Where kubectl finds its plugin.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.dir().join("bin").display()));
        // HOME keeps the discovery cache in the lab.
        command.env("KUBECONFIG", control_plane.admin_kubeconfig()).env("HOME", self.dir());
        Ok(command)
    }
}

/// The API by HTTP, without kubectl's start-up time.
impl Lab {
    /// Sends a request and returns the answer, whatever its status.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub fn api(&self, request: &Request) -> Result<Response> {
        request.send_in(self.control_plane()?.machine().netns(), self.api_address(), TIMEOUT)
    }

    /// GET of an object or list; `None` when it does not exist.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn get(&self, path: &str) -> Result<Option<Value>> {
        let answer = self.api(&Request::get(path))?;
        match answer.status {
            200 => Ok(Some(serde_json::from_slice(&answer.body).context("JSON")?)),
            404 => Ok(None),
            status => bail!("GET {path}: {status}: {}", answer.text()),
        }
    }

    /// The items of a list.
    ///
    /// # Errors
    /// When the API server refuses or knows no such kind.
    pub fn list(&self, path: &str) -> Result<Vec<Value>> {
        let mut list = self.get(path)?.with_context(|| format!("GET {path}: not found"))?;
        Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// POST, PUT, PATCH (merge) or DELETE with a JSON body.
    ///
    /// # Errors
    /// With the API server's words when it refuses.
    pub fn send(&self, method: &'static str, path: &str, body: &Value) -> Result<Value> {
        let answer = self.api(&Request::json(method, path, body))?;
        let value: Value = serde_json::from_slice(&answer.body).context("JSON")?;
        ensure!(
            answer.status < 300,
            "{method} {path}: {}: {}",
            answer.status,
            value["message"].as_str().unwrap_or("?")
        );
        Ok(value)
    }

    /// Watches a path and hands each event (`type`, `object`) to `see` until it
    /// returns something or `deadline` is over without any event.
    ///
    /// # Errors
    /// When the watch breaks or the deadline passes.
    pub fn watch<T>(
        &self,
        path: &str,
        deadline: Duration,
        mut see: impl FnMut(&Value) -> Option<T>,
    ) -> Result<T> {
        let sign = if path.contains('?') { '&' } else { '?' };
        let request = Request::get(&format!("{path}{sign}watch=true"));
        let netns = self.control_plane()?.machine().netns();
        let (status, _, body) = request.open(netns, self.api_address(), deadline)?;
        ensure!(status == 200, "watch {path}: {status}");
        for line in BufReader::new(body).lines() {
            let event: Value = serde_json::from_str(&line.context("watch: no event in time")?)?;
            if let Some(value) = see(&event) {
                return Ok(value);
            }
        }
        bail!("watch {path}: ended")
    }

    /// Messages of the events about an object, oldest first: `(reason, message)`.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn events(&self, namespace: &str, kind: &str, name: &str) -> Result<Vec<(String, String)>> {
        let path = format!(
            "/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.kind%3D{kind},involvedObject.name%3D{name}"
        );
        let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
        Ok(self.list(&path)?.iter().map(|e| (text(e, "reason"), text(e, "message"))).collect())
    }
}

/// Starting the product.
impl Lab {
    /// Applies `manifests/base` and waits until every pod of it is ready.
    ///
    /// # Errors
    /// When the API server refuses a manifest or a pod does not get ready.
    pub fn install_clarion(&self) -> Result<()> {
        let base = manifests()?.join("base");
        // Objects of kinds that the same call defines are refused until the API
        // server serves them; applying again is what users do, too.
        let base = base.display().to_string();
        self.wait_until("kubectl apply -k manifests/base", Duration::from_secs(20), || {
            self.kubectl(&["apply", "-k", &base]).map(Some)
        })?;
        self.wait_clarion_ready(Duration::from_secs(60))
    }

    /// Waits until controller and agents are ready on every node that is on.
    ///
    /// # Errors
    /// After the deadline, with the state of everything.
    pub fn wait_clarion_ready(&self, deadline: Duration) -> Result<()> {
        let nodes = self.nodes().iter().filter(|n| n.machine().is_on()).count() as u64;
        let (deployment, daemonset) = (
            format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/clarion-controller"),
            format!("/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/clarion-agent"),
        );
        self.wait_until("controller and agents ready", deadline, || {
            let (Some(controller), Some(agent)) = (self.get(&deployment)?, self.get(&daemonset)?) else {
                return Ok(None);
            };
            let wanted = controller["spec"]["replicas"].as_u64();
            let ready = controller["status"]["readyReplicas"].as_u64() == wanted
                && controller["status"]["updatedReplicas"].as_u64() == wanted
                && agent["status"]["numberReady"].as_u64() >= Some(nodes)
                && agent["status"]["updatedNumberScheduled"].as_u64() >= Some(nodes);
            // The API server believes in the pods of a node that was just switched on until it hears
            // otherwise: ask the agents themselves, too.
            Ok((ready && self.agents_ready()).then_some(()))
        })
    }

    /// Whether the agent of every node that is on says that it is ready.
    fn agents_ready(&self) -> bool {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, AGENT_HEALTH_PORT));
        self.nodes().iter().filter(|n| n.machine().is_on()).all(|node| {
            let answer = Request::get("/readyz").send_in(node.machine().netns(), to, TIMEOUT);
            answer.is_ok_and(|answer| answer.status == 200)
        })
    }

    /// Waits until every node that is on is Ready.
    ///
    /// # Errors
    /// After the deadline, with the state of everything.
    pub fn wait_nodes_ready(&self, deadline: Duration) -> Result<()> {
        let wanted: Vec<&str> =
            self.nodes().iter().filter(|n| n.machine().is_on()).map(|n| n.machine().name()).collect();
        self.wait_until("nodes Ready", deadline, || {
            let nodes = self.list("/api/v1/nodes")?;
            let ready = |name: &str| {
                nodes.iter().any(|node| {
                    let conditions = node["status"]["conditions"].as_array();
                    node["metadata"]["name"] == name
                        && node["spec"]["taints"].as_array().is_none_or(Vec::is_empty)
                        && conditions.is_some_and(|all| {
                            all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
                        })
                })
            };
            Ok(wanted.iter().all(|name| ready(name)).then_some(()))
        })
    }
}
