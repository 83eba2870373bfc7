//! The lab's cluster without the product: pods are real, kube-proxy works in
//! both modes, a node comes back after a power failure. Needs root and
//! `CLARION_LAB_BIN`.

use clarion_lab::http::Request;
use clarion_lab::{Lab, Spec};
use std::net::SocketAddr;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

const WEB: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: http, image: lab/http, readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  clusterIP: 10.96.0.80
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
";

#[test]
fn pods_serve_through_both_kinds_of_kube_proxy_and_a_node_survives_a_power_failure() {
    let mut lab = Lab::start(Spec { nodes: 2, clarion: false, ..Spec::cluster() }).expect("starts");
    lab.apply(WEB).expect("applies");
    let everywhere = |lab: &Lab| {
        for node in lab.nodes() {
            let to: SocketAddr = "10.96.0.80:80".parse().expect("parses");
            lab.wait_until(&format!("HTTP 200 from {}", node.machine().name()), SOON, || {
                let answer = Request::get("/").send_in(node.machine().netns(), to, Duration::from_secs(1))?;
                Ok((answer.status == 200 && answer.text().starts_with("pod web-")).then_some(()))
            })
            .expect("served");
        }
    };
    everywhere(&lab);
    lab.power_off("n2").expect("powers off");
    assert!(lab.node("n2").expect("n2").machine().init().is_none());
    lab.power_on("n2").expect("powers on");
    lab.wait_nodes_ready(SOON).expect("ready");
    everywhere(&lab);
}

#[test]
fn a_wait_that_fails_says_what_and_leaves_the_state_of_every_part() {
    let lab = Lab::start(Spec { nodes: 1, routers: 1, clarion: false, ..Spec::cluster() }).expect("starts");
    let error = lab
        .wait_until("a miracle", Duration::from_millis(50), || -> anyhow::Result<Option<()>> { Ok(None) })
        .expect_err("never holds");
    let text = format!("{error:#}");
    assert!(text.starts_with("a miracle: not within"), "{text}");
    let file = text.rsplit(": ").next().expect("names the file").trim();
    let state = std::fs::read_to_string(file).expect("the file is there");
    for part in ["kube-apiserver", "n1: bpftool net", "r1: show bgp summary", "ip neigh", "kubectl get nodes"]
    {
        assert!(state.contains(part), "{part} is missing in {file}");
    }
    std::fs::remove_file(file).expect("removes");
}
