//! A thousand Services: created by several workers, watched for what becomes of their
//! addresses, and taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clarion_lab::Lab;
use serde_json::{Value, json};

use crate::look::ingress;

/// The namespace of the Services.
pub const NAMESPACE: &str = "crowd";
/// How many workers create.
const WORKERS: usize = 8;
/// If nothing happens for so long, nothing will.
const STALL: Duration = Duration::from_secs(30);

/// The namespace, a pool for all, and one of a thousand addresses for those that ask.
/// Nothing announces them: what is tested is who gets which.
///
/// # Errors
/// When the API server refuses one.
pub fn ground(lab: &Lab) -> Result<()> {
    let pool = |name: &str, range: &str, auto: bool| {
        format!(
            "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\n\
             metadata: {{name: {name}, namespace: metallb-system}}\n\
             spec: {{addresses: [\"{range}\"], autoAssign: {auto}}}\n---\n"
        )
    };
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n---\n");
    lab.apply(
        &[
            namespace,
            pool("crowd", "172.28.0.0/16", true),
            pool("thousand", "172.29.0.0-172.29.3.231", false),
        ]
        .concat(),
    )?;
    Ok(())
}

fn path() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/services")
}

/// A Service without pods. kube-proxy leaves it alone: it is not what is tested.
fn service(name: &str, pool: Option<&str>) -> Value {
    let annotations = pool.map(|pool| json!({"metallb.io/address-pool": pool}));
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": name, "annotations": annotations,
            "labels": {"service.kubernetes.io/service-proxy-name": "none"},
        },
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
    })
}

/// Creates one Service.
///
/// # Errors
/// When the API server refuses it.
pub fn create_one(lab: &Lab, name: &str, pool: Option<&str>) -> Result<()> {
    lab.send("POST", &path(), &service(name, pool)).map(drop)
}

/// Creates `PREFIX-0` to `PREFIX-(count-1)` and calls `progress` with the number of each
/// after it was made, from several threads.
///
/// # Errors
/// When the API server refuses one.
pub fn create(
    lab: &Lab,
    prefix: &str,
    count: usize,
    pool: Option<&str>,
    progress: &(impl Fn(usize) + Sync),
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            create_one(lab, &format!("{prefix}-{number}"), pool)?;
            progress(number);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a worker panicked")))
    })
}

/// What a watch saw of the addresses of Services.
#[derive(Debug, Default)]
pub struct Seen {
    /// The address of each Service that has one.
    pub addresses: BTreeMap<String, IpAddr>,
    /// Services that had an address and then another, or none.
    pub moved: Vec<String>,
}

/// Watches from now on until `count` Services whose name begins with `prefix` have an address.
///
/// # Errors
/// When nothing happens for long before that.
pub fn watch(lab: &Lab, prefix: &str, count: usize) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut progress = Instant::now();
    loop {
        let before = seen.addresses.len();
        // The API server ends a watch that it finds too slow, also while nobody leads and nothing
        // is to be seen. Another begins with all that is there.
        let result = lab.watch(&path(), STALL, |event| {
            seen.note(prefix, event);
            (seen.addresses.len() >= count).then_some(())
        });
        match result {
            Ok(()) => return Ok(seen),
            Err(_) if seen.addresses.len() > before => progress = Instant::now(),
            Err(error) if progress.elapsed() >= STALL => {
                return Err(error.context(format!("{before} of {count} Services have an address")));
            }
            Err(_) => {}
        }
    }
}

impl Seen {
    fn note(&mut self, prefix: &str, event: &Value) {
        let object = &event["object"];
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if !name.starts_with(prefix) || event["type"] == "DELETED" {
            return;
        }
        let (before, now) = (self.addresses.get(name).copied(), ingress(object).first().copied());
        if before.is_some() && before != now {
            self.moved.push(format!("{name}: {before:?} became {now:?}"));
        }
        if let Some(now) = now {
            self.addresses.insert(name.to_owned(), now);
        }
    }
}

/// The Services as they are: address and version, by name.
///
/// # Errors
/// When the API server does not answer.
pub fn present(lab: &Lab) -> Result<BTreeMap<String, (Option<IpAddr>, String)>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = lab.list(&path())?;
    Ok(all
        .iter()
        .map(|service| {
            let meta = &service["metadata"];
            (text(&meta["name"]), (ingress(service).first().copied(), text(&meta["resourceVersion"])))
        })
        .collect())
}

/// Waits until every Service there is has an address, and that no two have the same.
///
/// # Errors
/// After the deadline, or when one is held twice.
pub fn all_settled(lab: &Lab, count: usize) -> Result<BTreeMap<String, IpAddr>> {
    let held = lab.wait_until(&format!("{count} Services with addresses"), STALL, || {
        let all = present(lab)?;
        let held: BTreeMap<_, _> = all.into_iter().filter_map(|(name, (ip, _))| Some((name, ip?))).collect();
        Ok((held.len() == count).then_some(held))
    })?;
    let different: BTreeSet<&IpAddr> = held.values().collect();
    ensure!(different.len() == held.len(), "{} addresses for {} Services", different.len(), held.len());
    Ok(held)
}

/// Deletes one Service.
///
/// # Errors
/// When the API server refuses.
pub fn delete_one(lab: &Lab, name: &str) -> Result<()> {
    lab.send("DELETE", &format!("{}/{name}", path()), &json!({})).map(drop)
}

/// Deletes all Services and waits until they are gone.
///
/// # Errors
/// After the deadline.
pub fn disperse(lab: &Lab) -> Result<()> {
    lab.send("DELETE", &path(), &json!({}))?;
    lab.wait_until("no Service of the crowd", STALL, || Ok(present(lab)?.is_empty().then_some(())))
}
