//! Others who are in the way: an API server that refuses, somebody who writes what we write, and
//! people who delete and make what is ours.

use anyhow::{Context, Result, ensure};
use clarion_e2e::harness::Case;
use clarion_e2e::look::{Held, SOON, addresses, service_path};
use clarion_e2e::objects::Service;
use clarion_lab::wait::poll;
use clarion_lab::{Lab, NAMESPACE};
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[
    ("the key, a plan and pods' labels are put right when somebody tampers with them", tampered),
    ("two that write one Service do not fight, and it is said who the other one is", contested),
    ("what the API server refuses is said in a few lines and in ConfigurationState", refused),
];

/// Longer than anything backs off in such a test.
const LATER: Duration = Duration::from_secs(90);

fn condition(lab: &Lab, kind: &str) -> Result<Option<Value>> {
    let path = format!("/apis/metallb.io/v1beta1/namespaces/{NAMESPACE}/configurationstates/controller");
    let state = lab.get(&path)?.unwrap_or_default();
    let conditions = state["status"]["conditions"].as_array().cloned().unwrap_or_default();
    Ok(conditions.into_iter().find(|condition| condition["type"] == kind))
}

fn tampered(lab: &mut Lab) -> Result<()> {
    let secret = format!("/api/v1/namespaces/{NAMESPACE}/secrets/memberlist");
    let before = lab.get(&secret)?.context("there is no Secret memberlist")?;
    lab.kubectl(&["delete", "secret", "memberlist", "-n", NAMESPACE])?;
    lab.wait_until("another Secret", Duration::from_secs(40), || {
        let now = lab.get(&secret)?;
        Ok(now.filter(|now| {
            now["metadata"]["uid"] != before["metadata"]["uid"] && now["data"]["secretkey"].is_string()
        }))
    })?;
    let plan = format!("/apis/clarion.dev/v1alpha1/namespaces/{NAMESPACE}/ownerplans");
    let object = json!({
        "apiVersion": "clarion.dev/v1alpha1", "kind": "OwnerPlan",
        "metadata": {"name": "addresses-9", "labels": {"clarion.dev/plan": "addresses"}},
        "spec": {"addresses": [{"address": "192.0.2.9", "epoch": 99, "owners": ["nobody"]}]},
    });
    lab.send("POST", &plan, &object)?;
    lab.wait_until("the end of a plan that somebody made", SOON, || {
        Ok(lab.get(&format!("{plan}/addresses-9"))?.is_none().then_some(()))
    })?;
    let pods = lab.kubectl(&["get", "pods", "-n", NAMESPACE, "-l", "app=metallb", "-o", "name"])?;
    ensure!(pods.lines().count() == lab.nodes().len() + 2, "{pods}");
    Ok(())
}

/// The address that the other one writes.
const THEIRS: &str = "203.0.113.9";

fn contested(lab: &mut Lab) -> Result<()> {
    let held = Held::apply(lab, &Service::new("contested"))?;
    let ours = held.address()?;
    let status = format!("{}/status?fieldManager=controller", service_path("contested"));
    let theirs = json!({"status": {"loadBalancer": {"ingress": [{"ip": THEIRS}]}}});
    let mut taken = 0;
    // As the other installation does: puts right whatever is not its own, as fast as it sees it.
    poll(Duration::from_secs(15), || {
        if addresses(lab, "contested")?.iter().any(|address| address.to_string() != THEIRS) {
            lab.send("PATCH", &status, &theirs)?;
            taken += 1;
        }
        Ok(None::<()>)
    })?;
    println!("            {taken} of our writes were taken back in 15 s");
    // Four at once, then after 1, 2, 4 and 8 s.
    ensure!((4..=9).contains(&taken), "{taken} of our writes were taken back in 15 s");
    let event = held.event("statusContested")?;
    ensure!(event.contains("a MetalLB (field manager \"controller\")"), "{event}");
    let said = lab.wait_until("the condition", SOON, || condition(lab, "servicesUncontested"))?;
    ensure!(said["status"] == "False" && said["message"].to_string().contains("/contested"), "{said}");
    // The other one is gone.
    lab.wait_until(
        "our address again",
        LATER,
        || Ok((addresses(lab, "contested")? == [ours]).then_some(())),
    )?;
    held.delete()?;
    lab.wait_until("the end of the condition", LATER, || {
        Ok(condition(lab, "servicesUncontested")?.is_none().then_some(()))
    })
}

fn refused(lab: &mut Lab) -> Result<()> {
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/clarion:controller";
    let rules = lab.get(path)?.context("no ClusterRole")?["rules"].take();
    let others: Vec<_> = rules.as_array().into_iter().flatten().collect();
    let others: Vec<_> =
        others.into_iter().filter(|rule| rule["resources"] != json!(["services/status"])).collect();
    let before = lines(lab);
    lab.send("PATCH", path, &json!({ "rules": others }))?;
    let names = ["refused-a", "refused-b", "refused-c", "refused-d", "refused-e"];
    let held = names.map(|name| Held::apply(lab, &Service::new(name)));
    let result = said(lab);
    lab.send("PATCH", path, &json!({ "rules": rules }))?;
    result?;
    for (name, held) in names.iter().zip(held) {
        let held = held?;
        lab.wait_until("an address once the right is back", LATER, || {
            Ok((!addresses(lab, name)?.is_empty()).then_some(()))
        })?;
        held.delete()?;
    }
    lab.wait_until("the end of the condition", SOON, || {
        Ok(condition(lab, "writesAccepted")?.is_none().then_some(()))
    })?;
    let lines = lines(lab) - before;
    println!("            {lines} lines in the log");
    ensure!((1..=3).contains(&lines), "{lines} lines of refused statuses");
    Ok(())
}

/// The condition, once the API server has refused a whole kind of writes.
fn said(lab: &Lab) -> Result<()> {
    let said = lab.wait_until("the condition", SOON, || condition(lab, "writesAccepted"))?;
    let message = said["message"].as_str().unwrap_or_default();
    ensure!(said["status"] == "False" && message.contains("services/status"), "{said}");
    Ok(())
}

/// Lines of the log about statuses of Services that were not written.
fn lines(lab: &Lab) -> usize {
    let logs = lab.pod_logs(NAMESPACE).into_iter();
    let texts = logs.map(|file| std::fs::read_to_string(file).unwrap_or_default());
    texts.map(|text| text.lines().filter(|l| l.contains("cannot write the status of Services")).count()).sum()
}
