//! Every right of the manifests is needed: without it something fails, and says so.
//!
//! Rights are taken away a verb at a time, from both processes at once: the API server's
//! refusal names verb and resource, so each shows by itself. What one refusal keeps
//! from happening (without a Lease nobody leads, and nobody writes) is tried again with that
//! right given back.

use anyhow::{Context, Result, ensure};
use clarion_e2e::agents;
use clarion_e2e::harness::Case;
use clarion_e2e::look::SOON;
use clarion_e2e::objects::Service;
use clarion_lab::{Cut, Lab, NAMESPACE};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[
    ("every verb of the roles is used, and its loss is said", roles),
    ("every capability of the DaemonSet is needed, and its loss is said", capabilities),
];

/// How long a step may take to meet a refusal.
const STEP: Duration = Duration::from_secs(6);
const COMPONENTS: [&str; 2] = ["clarion-agent", "clarion-controller"];

/// One verb on one resource, for one ServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    account: String,
    group: String,
    resource: String,
    verb: String,
}

impl Right {
    /// Whether the API server's words refuse this very right.
    fn refused(&self, line: &str) -> bool {
        let Self { account, group, resource, verb } = self;
        // In JSON or not, quotes may be escaped.
        let line = line.replace('\\', "");
        line.contains(&format!(
            "User \"system:serviceaccount:{NAMESPACE}:{account}\" cannot {verb} resource \"{resource}\" in API group \"{group}\""
        ))
    }
}

/// A Role or ClusterRole as the manifests have it.
struct Role {
    path: String,
    account: &'static str,
    object: Value,
}

fn all_roles(lab: &Lab) -> Result<Vec<Role>> {
    let api = "/apis/rbac.authorization.k8s.io/v1";
    let mut all = Vec::new();
    for account in COMPONENTS {
        let cluster = account.replacen('-', ":", 1);
        for path in
            [format!("{api}/clusterroles/{cluster}"), format!("{api}/namespaces/{NAMESPACE}/roles/{account}")]
        {
            let object = lab.get(&path)?.with_context(|| format!("no {path}"))?;
            all.push(Role { path, account, object });
        }
    }
    Ok(all)
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The rules of a role, one for each right.
fn single(role: &Role) -> Vec<(Right, Value)> {
    let mut all = Vec::new();
    for rule in role.object["rules"].as_array().into_iter().flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    let mut one = json!({ "apiGroups": [group], "resources": [resource], "verbs": [verb] });
                    if let Some(names) = rule.get("resourceNames") {
                        one["resourceNames"] = names.clone();
                    }
                    let account = role.account.to_owned();
                    all.push((
                        Right { account, group: group.clone(), resource: resource.clone(), verb },
                        one,
                    ));
                }
            }
        }
    }
    all
}

/// Puts the roles in force without some rights.
fn restrict(lab: &Lab, roles: &[Role], without: &BTreeSet<Right>) -> Result<()> {
    for role in roles {
        let rules: Vec<Value> = single(role)
            .into_iter()
            .filter(|(right, _)| !without.contains(right))
            .map(|(_, rule)| rule)
            .collect();
        lab.send("PATCH", &role.path, &json!({ "rules": rules }))?;
    }
    Ok(())
}

fn roles(lab: &mut Lab) -> Result<()> {
    let roles = all_roles(lab)?;
    let rights: BTreeSet<Right> = roles.iter().flat_map(single).map(|(right, _)| right).collect();
    let verbs: BTreeSet<String> = rights.iter().map(|right| right.verb.clone()).collect();
    let mut useless = Vec::new();
    for verb in verbs {
        let mut pending: BTreeSet<Right> = rights.iter().filter(|r| r.verb == verb).cloned().collect();
        while !pending.is_empty() {
            restrict(lab, &roles, &pending)?;
            let refused = refusals(lab, &pending)?;
            println!("            {verb}: {} of {} refused and said", refused.len(), pending.len());
            pending.retain(|right| !refused.contains(right));
            if refused.is_empty() {
                useless.extend(std::mem::take(&mut pending));
            }
        }
    }
    restrict(lab, &roles, &BTreeSet::new())?;
    lab.install_clarion()?;
    ensure!(useless.is_empty(), "nobody misses these rights, or nobody says so: {useless:#?}");
    Ok(())
}

/// Does everything that the product does for its users, until each of the rights was missed.
fn refusals(lab: &Lab, pending: &BTreeSet<Right>) -> Result<BTreeSet<Right>> {
    let logs = Logs::from_now(lab);
    // Policy Local: the controller looks at endpoints for nobody else.
    let service = Service::new("rights").dual().field("externalTrafficPolicy", "Local").yaml();
    let key = format!(
        "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/basic-auth\nmetadata: {{name: rights, namespace: {NAMESPACE}}}\n\
         stringData: {{password: secret}}\n---\napiVersion: metallb.io/v1beta2\nkind: BGPPeer\n\
         metadata: {{name: rights, namespace: {NAMESPACE}}}\n\
         spec: {{myASN: 64512, peerASN: 64999, peerAddress: 192.0.2.9, passwordSecret: {{name: rights}}}}\n"
    );
    // Objects of every kind, so that each has a condition to be written.
    let objects = format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: rights, namespace: {NAMESPACE}}}\n\
         spec: {{addresses: [192.168.100.240/32]}}\n---\napiVersion: metallb.io/v1beta1\nkind: BFDProfile\n\
         metadata: {{name: rights, namespace: {NAMESPACE}}}\nspec: {{}}\n---\napiVersion: metallb.io/v1beta1\n\
         kind: Community\nmetadata: {{name: rights, namespace: {NAMESPACE}}}\n\
         spec: {{communities: [{{name: rights, value: \"64512:1\"}}]}}\n"
    );
    let remove =
        |what: &[&str]| lab.kubectl(&[&["delete", "-n", NAMESPACE, "--wait=false"], what].concat()).map(drop);
    type Step<'a> = (&'a str, Box<dyn Fn() -> Result<()> + 'a>);
    let steps: [Step<'_>; 5] = [
        (
            "restart",
            Box::new(|| {
                lab.apply(&key)?;
                remove(&["leases", "--all"])?;
                remove(&["configurationstates", "--all"])?;
                remove(&["secret", "memberlist", "--ignore-not-found"])?;
                remove(&["pods", "--all", "--grace-period=1"])
            }),
        ),
        ("create", Box::new(|| lab.apply(&format!("{service}---\n{objects}")).map(drop))),
        (
            "move",
            Box::new(|| {
                lab.nodes().iter().try_for_each(|n| lab.cut_link(n.machine().name(), Cut::Carrier).map(drop))
            }),
        ),
        ("return", Box::new(|| lab.nodes().iter().try_for_each(|n| lab.heal_link(n.machine().name())))),
        ("delete", Box::new(|| lab.delete(&format!("{service}---\n{key}---\n{objects}")).map(drop))),
    ];
    let mut refused = BTreeSet::new();
    for (_, step) in &steps {
        step()?;
        clarion_lab::wait::poll(STEP, || {
            refused = logs.refused(lab, pending);
            Ok((refused.len() == pending.len()).then_some(()))
        })?;
    }
    Ok(refused)
}

/// What pods wrote since.
struct Logs(BTreeMap<PathBuf, usize>);

impl Logs {
    fn from_now(lab: &Lab) -> Self {
        let length =
            |path: &PathBuf| std::fs::metadata(path).map_or(0, |m| usize::try_from(m.len()).unwrap_or(0));
        Self(lab.pod_logs(NAMESPACE).into_iter().map(|path| (path.clone(), length(&path))).collect())
    }

    fn text(&self, lab: &Lab) -> String {
        let new = |path: PathBuf| {
            let bytes = std::fs::read(&path).unwrap_or_default();
            let from = self.0.get(&path).copied().unwrap_or_default().min(bytes.len());
            String::from_utf8_lossy(&bytes[from..]).into_owned()
        };
        lab.pod_logs(NAMESPACE).into_iter().map(new).collect()
    }

    fn refused(&self, lab: &Lab, pending: &BTreeSet<Right>) -> BTreeSet<Right> {
        let text = self.text(lab);
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("cannot")).collect();
        pending.iter().filter(|right| lines.iter().any(|line| right.refused(line))).cloned().collect()
    }
}

fn capabilities(lab: &mut Lab) -> Result<()> {
    let capabilities = "securityContext/capabilities/add";
    let daemonset = agents::daemonset(lab)?;
    let granted = texts(
        &daemonset["spec"]["template"]["spec"]["containers"][0]["securityContext"]["capabilities"]["add"],
    );
    ensure!(!granted.is_empty(), "the DaemonSet grants nothing");
    let grant = |list: &[String]| agents::replace(lab, capabilities, &json!(list));
    for lost in &granted {
        let logs = Logs::from_now(lab);
        grant(&granted.iter().filter(|name| *name != lost).cloned().collect::<Vec<_>>())?;
        lab.wait_until(&format!("agents that miss CAP_{lost} and are not ready"), SOON, || {
            let said = logs.text(lab).lines().any(|l| l.contains(&format!("lacks CAP_{lost}")));
            let now = agents::daemonset(lab)?;
            let ready = now["status"]["numberReady"].as_u64().unwrap_or_default();
            Ok((said && ready == 0).then_some(()))
        })?;
    }
    grant(&granted)?;
    lab.install_clarion()
}
